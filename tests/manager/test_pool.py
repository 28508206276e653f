"""The pool's decision, against its rules."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from jackfield.pool.decisions import Crowd, Evict, Open, Refuse, Reuse, Wait, decide, stuck


@dataclass(frozen=True)
class FakeSlot:
    slot_key: tuple[str, str] | None
    is_usable: bool
    is_idle: bool
    last_used_at: float
    is_expected: bool = False

    @property
    def server_name(self) -> str:
        return self.slot_key[0] if self.slot_key else "s"


keys = st.sampled_from([None, ("s", "a"), ("s", "b"), ("t", "a")])


@st.composite
def slot(draw: st.DrawFn) -> FakeSlot:
    key = draw(keys)
    usable = draw(st.booleans())
    # A private session is gone with its lease, so it is never idle.
    idle = usable and key is not None and draw(st.booleans())
    return FakeSlot(key, usable, idle, draw(st.floats(0, 100)), draw(st.booleans()))


def one_usable_a_key(slots: list[FakeSlot]) -> bool:
    named = [one.slot_key for one in slots if one.slot_key is not None]
    return len(named) == len(set(named))


slots = st.lists(slot(), max_size=6).filter(one_usable_a_key)


@given(slots, keys, st.integers(1, 6), st.none() | st.integers(1, 3))
def test_the_decision_keeps_the_rules(
    held: list[FakeSlot], wanted: tuple[str, str] | None, limit: int, of_server: int | None
) -> None:
    server = wanted[0] if wanted else "s"
    decision = decide(held, server, wanted, limit, of_server)
    mine = [one for one in held if one.server_name == server]
    crowded = of_server is not None and len(mine) >= of_server
    crowd = mine if crowded else held
    same = [one for one in held if wanted is not None and one.slot_key == wanted]
    match decision:
        case Reuse(index):
            assert held[index].slot_key == wanted is not None
            assert held[index].is_usable
        case Open():
            assert len(held) < limit
            assert not crowded
            assert not same, "never two of one key"
        case Evict(index):
            assert len(held) >= limit or crowded
            assert held[index].is_idle
            idle = [one for one in crowd if one.is_idle]
            assert held[index].last_used_at == min(
                one.last_used_at for one in idle if not one.is_expected or all(other.is_expected for other in idle)
            )
            assert not same
        case Wait("closing"):
            assert same
            assert not same[0].is_usable
        case Wait(because):
            assert crowded if because == "server" else len(held) >= limit
            assert not same
            assert not any(one.is_idle for one in crowd) or any(not one.is_usable for one in crowd)
    if same and same[0].is_usable:
        assert isinstance(decision, Reuse)


def test_examples() -> None:
    busy = FakeSlot(("s", "a"), True, False, 1.0)
    idle = FakeSlot(("s", "b"), True, True, 2.0)
    older = FakeSlot(("t", "a"), True, True, 1.0)
    closing = FakeSlot(("s", "c"), False, False, 0.0)
    assert decide([], "s", None, 1) == Open()
    assert decide([busy], "s", ("s", "a"), 1) == Reuse(0)
    assert decide([busy], "s", None, 1) == Wait("full")
    expected = FakeSlot(("t", "b"), True, True, 0.5, is_expected=True)
    assert decide([idle, older], "s", None, 2) == Evict(1)
    assert decide([expected, idle], "s", None, 2) == Evict(1), "what an agent that runs may go on with is closed last"
    assert decide([closing], "s", ("s", "c"), 2) == Wait("closing")
    assert decide([idle, closing], "s", None, 2) == Wait("full"), "the closing one makes room; one eviction is enough"
    assert decide([busy], "s", None, 9, 1) == Wait("server")
    assert decide([busy], "t", None, 9, 1) == Open()
    both = Crowd([0, 1], 2, "children")
    assert decide([busy, idle], "s", None, 9, None, [both]) == Evict(1)
    assert decide([busy, closing], "s", None, 9, None, [both]) == Wait("crowd")
    assert decide([busy, busy], "s", None, 9, None, [both]) == Refuse("children", 2), "it is not waited for"
    assert decide([busy, idle], "s", ("s", "a"), 9, None, [both]) == Reuse(0)
    assert decide([busy, idle], "s", None, 9, None, [Crowd([0], 2, "children")]) == Open()
    assert decide([idle, older], "s", None, 9, 1) == Evict(0)


@dataclass(frozen=True)
class FakeLeased:
    server_name: str
    holders: tuple[str, ...]
    is_settled: bool = True


@dataclass(frozen=True)
class FakeWaiter:
    holder: str
    server_name: str = "s"
    because: str | None = "full"


def test_who_gives_up_is_the_last_of_a_circle() -> None:
    a, b = FakeLeased("s", ("ada",)), FakeLeased("t", ("eve",))
    ada, eve, other = FakeWaiter("ada"), FakeWaiter("eve"), FakeWaiter("other")
    assert stuck([a, b], [ada, eve, other]) is eve
    assert stuck([a, b], [ada, other]) is None, "eve may give hers back"
    assert stuck([a], [other]) is None
    assert stuck([a, FakeLeased("t", ("eve", "bob"))], [ada, eve]) is None, "nor need bob wait"
    assert stuck([a, FakeLeased("t", ("eve",), is_settled=False)], [ada, eve]) is None, "it may fail to open"
    assert stuck([a, FakeLeased("t", ())], [ada]) is None, "nobody has the other"
    assert stuck([a, b], [ada, FakeWaiter("eve", because="closing")]) is None
    of_server = FakeWaiter("ada", because="server")
    assert stuck([a, b], [of_server]) is of_server, "the other server's sessions are no room for it"
    assert stuck([], []) is None
