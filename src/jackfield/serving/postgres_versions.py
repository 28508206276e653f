"""The tables and functions in PostgreSQL, as SQL, one text per version. Released versions are never changed.

`{s}` stands for the quoted name of the schema. Each function is one round trip and one transaction. A row that has
expired is never seen, though it may be there until it is pruned.
"""

from __future__ import annotations

_TABLES = """
create table {s}.sessions (
    session_id text primary key,
    record text not null,
    log_level text,
    principal text,
    expires_at timestamptz not null
) with (fillfactor = 60);
create index sessions_principal on {s}.sessions (principal) where principal is not null;

create table {s}.calls (
    session_id text not null references {s}.sessions on delete cascade,
    call_key text not null,
    request_id text not null,
    instance text not null,
    stream text not null,
    primary key (session_id, call_key)
);
create index calls_instance on {s}.calls (instance);

create table {s}.topics (
    session_id text not null references {s}.sessions on delete cascade,
    topic text not null,
    primary key (session_id, topic)
);
create index topics_topic on {s}.topics (topic);

create table {s}.state (
    session_id text not null references {s}.sessions on delete cascade,
    key text not null,
    value text not null,
    primary key (session_id, key)
);

-- Streams may be kept here without the sessions, so these refer to no session.
create table {s}.logs (
    session_id text not null,
    stream text not null,
    first_number bigint not null default 1,
    last_number bigint not null default 0,
    bytes bigint not null default 0,
    is_answered boolean not null default false,
    is_listened boolean not null default false,
    expires_at timestamptz not null,
    primary key (session_id, stream)
) with (fillfactor = 60);

create table {s}.events (
    session_id text not null,
    stream text not null,
    number bigint not null,
    message text not null,
    bytes bigint not null,
    is_final boolean not null,
    primary key (session_id, stream, number)
);

create table {s}.readers (
    session_id text primary key,
    reader text not null,
    expires_at timestamptz not null
);

create table {s}.instances (
    instance text primary key,
    beat_at timestamptz not null
);

create table {s}.messages (
    id bigint generated always as identity primary key,
    instance text,
    body text not null,
    sent_at timestamptz not null default clock_timestamp()
);

-- When the calls of a user within the last minute began.
create table {s}.rates (
    principal text not null,
    begun_at timestamptz not null
);
create index rates_principal on {s}.rates (principal, begun_at);
create index rates_begun_at on {s}.rates (begun_at);

-- What each instance may use of a bound that all keep together.
create table {s}.shares (
    name text not null,
    instance text not null,
    share int not null,
    primary key (name, instance)
);

-- Texts that belong to no session.
create table {s}.kept_values (
    for_what text not null,
    key text not null,
    value text not null,
    expires_at timestamptz not null,
    primary key (for_what, key)
);
create index kept_values_expires_at on {s}.kept_values (expires_at);

-- Any role of the database may listen on a channel that it knows, so the name is known to readers of this table only.
create table {s}.channel (name text not null);
insert into {s}.channel values ('jackfield_' || replace(gen_random_uuid()::text, '-', ''));

-- What a role that is named here sees where row-level security is on.
create table {s}.reader_roles (
    role name not null,
    principal text not null,
    primary key (role, principal)
);
"""

_SESSIONS = """
create function {s}.in_seconds(seconds float8) returns timestamptz language sql as $$
    select clock_timestamp() + make_interval(secs => seconds)
$$;

create function {s}.create_session(
    p_session text, p_record text, p_log_level text, p_principal text, p_ttl float8, p_sessions int, p_per_user int
) returns text language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('{s}.sessions', 0));
    if (select count(*) from {s}.sessions where expires_at > now()) >= p_sessions then
        return 'sessions';
    end if;
    if (select count(*) from {s}.sessions where principal = p_principal and expires_at > now()) >= p_per_user then
        return 'sessions_per_user';
    end if;
    insert into {s}.sessions (session_id, record, log_level, principal, expires_at)
    values (p_session, p_record, p_log_level, p_principal, {s}.in_seconds(p_ttl));
    return null;
end $$;

create function {s}.begin_call(p_principal text, p_calls int) returns float8 language plpgsql as $$
declare
    v_now timestamptz;
    v_oldest timestamptz;
    v_count int;
begin
    perform set_config('synchronous_commit', 'off', true);
    perform pg_advisory_xact_lock(hashtextextended('{s}.rates ' || p_principal, 0));
    v_now := clock_timestamp();
    select min(begun_at), count(*) into v_oldest, v_count from {s}.rates
    where principal = p_principal and begun_at > v_now - interval '1 minute';
    if v_count >= p_calls then
        return extract(epoch from v_oldest + interval '1 minute' - v_now)::float8;
    end if;
    insert into {s}.rates (principal, begun_at) values (p_principal, v_now);
    delete from {s}.rates where ctid in (
        select ctid from {s}.rates where begun_at <= v_now - interval '1 minute' limit 20 for update skip locked
    );
    return null;
end $$;

create function {s}.take_share(
    p_name text, p_instance text, p_in_use int, p_wanted int, p_maximum int, p_dead_after float8
) returns int language plpgsql as $$
declare
    v_share int;
begin
    perform set_config('synchronous_commit', 'off', true);
    perform pg_advisory_xact_lock(hashtextextended('{s}.shares ' || p_name, 0));
    select greatest(p_in_use, least(p_wanted, p_maximum - coalesce(sum(share), 0)::int)) into v_share
    from {s}.shares join {s}.instances using (instance)
    where name = p_name and instance <> p_instance and beat_at > {s}.in_seconds(-p_dead_after);
    if v_share > 0 then
        insert into {s}.shares (name, instance, share) values (p_name, p_instance, v_share)
        on conflict (name, instance) do update set share = excluded.share;
    else
        delete from {s}.shares where name = p_name and instance = p_instance;
    end if;
    return v_share;
end $$;

create function {s}.swap_value(p_for text, p_key text, p_expected text, p_value text, p_seconds float8)
returns boolean language plpgsql as $$
declare
    v_present text;
begin
    perform pg_advisory_xact_lock(hashtextextended('{s}.kept_values ' || p_for || ' ' || p_key, 0));
    select value into v_present from {s}.kept_values
    where for_what = p_for and key = p_key and expires_at > clock_timestamp();
    if v_present is distinct from p_expected then
        return false;
    end if;
    if p_value is null then
        delete from {s}.kept_values where for_what = p_for and key = p_key;
    else
        insert into {s}.kept_values (for_what, key, value, expires_at)
        values (p_for, p_key, p_value, {s}.in_seconds(p_seconds))
        on conflict (for_what, key) do update set value = excluded.value, expires_at = excluded.expires_at;
    end if;
    return true;
end $$;

create function {s}.claim(
    p_session text, p_principal text, p_key text, p_request text, p_instance text, p_stream text,
    p_ttl float8, p_calls int,
    out outcome text, out record text, out log_level text
) language plpgsql as $$
#variable_conflict use_column
declare
    v_running int;
    v_same int;
begin
    -- Locks the session, so that its calls are counted alone.
    update {s}.sessions set expires_at = {s}.in_seconds(p_ttl)
    where session_id = p_session and principal is not distinct from p_principal and expires_at > clock_timestamp()
    returning record, log_level into claim.record, claim.log_level;
    if not found then
        outcome := 'gone';
        return;
    end if;
    select count(*), count(*) filter (where call_key = p_key) into v_running, v_same
    from {s}.calls where session_id = p_session;
    if v_same > 0 then
        outcome := 'runs';
    elsif v_running >= p_calls then
        outcome := 'full';
    else
        insert into {s}.calls (session_id, call_key, request_id, instance, stream)
        values (p_session, p_key, p_request, p_instance, p_stream);
        outcome := 'claimed';
    end if;
end $$;

create function {s}.touch_sessions(p_sessions text[], p_ttl float8) returns setof text language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
    with locked as (
        select session_id from {s}.sessions
        where session_id = any (p_sessions) and expires_at > clock_timestamp()
        order by session_id for update
    ), touched as (
        update {s}.sessions s set expires_at = {s}.in_seconds(p_ttl) from locked l
        where s.session_id = l.session_id returning s.session_id
    )
    select wanted from unnest(p_sessions) wanted where wanted not in (select session_id from touched);
end $$;

create function {s}.delete_session(p_session text) returns json language plpgsql as $$
declare
    v_calls json;
begin
    perform 1 from {s}.sessions where session_id = p_session and expires_at > clock_timestamp() for update;
    if not found then
        return null;
    end if;
    select coalesce(json_agg(json_build_array(request_id, instance, stream)), '[]') into v_calls
    from {s}.calls where session_id = p_session;
    delete from {s}.sessions where session_id = p_session;
    return v_calls;
end $$;

create function {s}.subscribe(p_session text, p_topics text[], p_maximum int) returns boolean language plpgsql as $$
declare
    v_has int;
    v_wants int;
begin
    perform 1 from {s}.sessions where session_id = p_session and expires_at > clock_timestamp() for update;
    if not found then
        return true;
    end if;
    select count(*) into v_has from {s}.topics where session_id = p_session;
    select count(*) into v_wants from (
        select topic from {s}.topics where session_id = p_session union select unnest(p_topics)
    ) wanted;
    if v_wants > greatest(v_has, p_maximum) then
        return false;
    end if;
    insert into {s}.topics (session_id, topic) select p_session, topic from unnest(p_topics) topic
    on conflict do nothing;
    return true;
end $$;

create function {s}.prune_sessions(p_rows int, p_message_seconds float8) returns int language plpgsql as $$
declare
    v_removed int;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('{s}.prune_sessions', 0)) then
        return 0;
    end if;
    perform set_config('synchronous_commit', 'off', true);
    delete from {s}.messages where sent_at < {s}.in_seconds(-p_message_seconds);
    delete from {s}.shares s where not exists (select from {s}.instances i where i.instance = s.instance);
    delete from {s}.kept_values where expires_at <= now();
    delete from {s}.sessions where session_id in (
        select session_id from {s}.sessions where expires_at <= now() limit p_rows for update skip locked
    );
    get diagnostics v_removed = row_count;
    return v_removed;
end $$;
"""

_STREAMS = """
create function {s}.append(
    p_session text, p_stream text, p_messages text[], p_is_final boolean, p_at bigint,
    p_ttl float8, p_answered_seconds float8, p_events int, p_bytes bigint
) returns bigint language plpgsql as $$
declare
    v_added constant bigint := cardinality(p_messages);
    v_bytes constant bigint := (select coalesce(sum(octet_length(message)), 0) from unnest(p_messages) message);
    v_seconds constant float8 := case when p_is_final then least(p_ttl, p_answered_seconds) else p_ttl end;
    v_log {s}.logs;
    v_removed bigint;
    v_is_trimmed boolean := false;
begin
    loop
        update {s}.logs set
            last_number = last_number + v_added, bytes = bytes + v_bytes, is_answered = p_is_final,
            expires_at = {s}.in_seconds(v_seconds)
        where session_id = p_session and stream = p_stream and not is_answered and expires_at > clock_timestamp()
            and (p_at is null or p_at = last_number + 1 or p_at <= last_number and p_is_final)
        returning * into v_log;
        exit when found;
        insert into {s}.logs (session_id, stream, first_number, last_number, bytes, is_answered, expires_at)
        values (
            p_session, p_stream, coalesce(p_at, 1), coalesce(p_at, 1) + v_added - 1, v_bytes, p_is_final,
            {s}.in_seconds(v_seconds)
        ) on conflict do nothing returning * into v_log;
        exit when found;
        -- It has its answer, has expired, was begun at this moment, or has another number than the next one.
        select * into v_log from {s}.logs where session_id = p_session and stream = p_stream for update;
        if not found then
            continue;
        elsif v_log.expires_at <= clock_timestamp() then
            v_log.last_number := 0;
        elsif v_log.is_answered then
            return null;
        elsif p_at <= v_log.last_number then
            return p_at;
        elsif p_at is null or p_at = v_log.last_number + 1 then
            continue;
        end if;
        -- Nothing of what it has is kept.
        v_log.last_number := greatest(v_log.last_number, coalesce(p_at, 1) - 1);
        delete from {s}.events where session_id = p_session and stream = p_stream;
        update {s}.logs set
            first_number = v_log.last_number + 1, last_number = v_log.last_number, bytes = 0, is_answered = false,
            expires_at = {s}.in_seconds(v_seconds)
        where session_id = p_session and stream = p_stream;
    end loop;
    insert into {s}.events (session_id, stream, number, message, bytes, is_final)
    select p_session, p_stream, v_log.last_number - v_added + place, message, octet_length(message),
        p_is_final and place = v_added
    from unnest(p_messages) with ordinality given (message, place);
    while v_log.first_number < v_log.last_number
        and (v_log.last_number - v_log.first_number >= p_events or v_log.bytes > p_bytes)
    loop
        delete from {s}.events
        where session_id = p_session and stream = p_stream and number = v_log.first_number
        returning bytes into v_removed;
        v_log.first_number := v_log.first_number + 1;
        v_log.bytes := v_log.bytes - coalesce(v_removed, 0);
        v_is_trimmed := true;
    end loop;
    if v_is_trimmed then
        update {s}.logs set first_number = v_log.first_number, bytes = v_log.bytes
        where session_id = p_session and stream = p_stream;
    end if;
    if v_log.is_listened then
        perform pg_notify(
            (select name from {s}.channel),
            json_build_array(p_session, p_stream, v_log.last_number - v_added + 1, v_log.last_number)::text
        );
    end if;
    return v_log.last_number - v_added + 1;
end $$;

-- Marks logs whose events somebody hears of: of others, nobody is notified. An append before it, and what is read after
-- it, cannot miss each other, since both lock the log.
create function {s}.listen_to(p_sessions text[], p_streams text[], p_ttl float8)
returns table (session text, log text, tip bigint, was_marked boolean) language plpgsql as $$
begin
    for session, log in select * from unnest(p_sessions, p_streams) given (s, l) order by s, l loop
        delete from {s}.logs where session_id = session and stream = log and expires_at <= clock_timestamp();
        if found then
            delete from {s}.events where session_id = session and stream = log;
        end if;
        insert into {s}.logs (session_id, stream, is_listened, expires_at)
        values (session, log, true, {s}.in_seconds(p_ttl))
        on conflict (session_id, stream) do update set is_listened = true where not logs.is_listened;
        was_marked := not found;
        select last_number into tip from {s}.logs where session_id = session and stream = log;
        return next;
    end loop;
end $$;

create function {s}.attach(p_session text, p_reader text, p_over text, p_ttl float8) returns text language plpgsql as $$
declare
    v_reader text;
begin
    loop
        insert into {s}.readers (session_id, reader, expires_at)
        values (p_session, p_reader, {s}.in_seconds(p_ttl))
        on conflict (session_id) do update set reader = excluded.reader, expires_at = excluded.expires_at
        where readers.reader = p_over or p_over = '*' or readers.expires_at <= clock_timestamp();
        if found then
            return null;
        end if;
        select reader into v_reader from {s}.readers where session_id = p_session;
        if found then
            return v_reader;
        end if;
    end loop;
end $$;

create function {s}.touch_streams(
    p_sessions text[], p_streams text[], p_standalone text, p_ttl float8, p_answered_seconds float8
) returns void language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    with locked as (
        select l.session_id, l.stream from {s}.logs l
        join unnest(p_sessions, p_streams) given (session_id, stream) using (session_id, stream)
        where l.expires_at > clock_timestamp()
        order by l.session_id, l.stream for update of l
    )
    update {s}.logs l set expires_at =
        {s}.in_seconds(case when l.is_answered then least(p_ttl, p_answered_seconds) else p_ttl end)
    from locked where l.session_id = locked.session_id and l.stream = locked.stream;
    with locked as (
        select r.session_id from {s}.readers r
        join unnest(p_sessions, p_streams) given (session_id, stream) using (session_id)
        where given.stream = p_standalone and r.expires_at > clock_timestamp()
        order by r.session_id for update of r
    )
    update {s}.readers r set expires_at = {s}.in_seconds(p_ttl)
    from locked where r.session_id = locked.session_id;
end $$;

create function {s}.delete_streams(p_session text, p_streams text[]) returns void language plpgsql as $$
begin
    delete from {s}.readers where session_id = p_session;
    -- The logs first: who appends locks the log before it adds events.
    delete from {s}.logs where session_id = p_session and stream = any (p_streams);
    delete from {s}.events where session_id = p_session and stream = any (p_streams);
end $$;

create function {s}.prune_streams(p_rows int) returns int language plpgsql as $$
declare
    v_removed int;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('{s}.prune_streams', 0)) then
        return 0;
    end if;
    perform set_config('synchronous_commit', 'off', true);
    delete from {s}.readers where expires_at <= now();
    with gone as (
        delete from {s}.logs where (session_id, stream) in (
            select session_id, stream from {s}.logs where expires_at <= now() limit p_rows for update skip locked
        ) returning session_id, stream
    ), emptied as (
        delete from {s}.events e using gone g where e.session_id = g.session_id and e.stream = g.stream
    )
    select count(*) into v_removed from gone;
    return v_removed;
end $$;
"""

_INSTANCES = """
create function {s}.beat(p_instances text[]) returns void language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into {s}.instances (instance, beat_at)
    select instance, clock_timestamp() from unnest(p_instances) instance
    on conflict (instance) do update set beat_at = excluded.beat_at;
end $$;

create function {s}.tell(p_instance text, p_body text, p_dead_after float8) returns boolean language plpgsql as $$
declare
    v_id bigint;
begin
    perform set_config('synchronous_commit', 'off', true);
    if p_instance is not null and not exists (
        select from {s}.instances where instance = p_instance and beat_at > {s}.in_seconds(-p_dead_after)
    ) then
        return false;
    end if;
    insert into {s}.messages (instance, body) values (p_instance, p_body) returning id into v_id;
    perform pg_notify((select name from {s}.channel), json_build_array(v_id, p_instance)::text);
    return true;
end $$;

create function {s}.take_messages(p_ids bigint[], p_instances text[])
returns table (to_instance text, text text) language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    return query
    with taken as (
        delete from {s}.messages m where m.instance = any (p_instances) returning m.id, m.instance, m.body
    ), wanted as (
        select * from taken
        union all
        select m.id, m.instance, m.body from {s}.messages m where m.id = any (p_ids) and m.instance is null
    )
    select w.instance, w.body from wanted w order by w.id;
end $$;
"""

VERSIONS: tuple[str, ...] = (_TABLES + _SESSIONS + _STREAMS + _INSTANCES,)
"""The first one makes version 1 of nothing, each other one the next version of the one before."""

TABLES: tuple[str, ...] = (
    "sessions", "calls", "topics", "state", "logs", "events", "readers", "rates", "shares", "kept_values", "instances",
    "messages",
)  # fmt: skip
"""What instances write to."""

LOOKED_UP: tuple[str, ...] = ("schema_versions", "channel")
"""What they only read."""

ROW_LEVEL_SECURITY = """
do $$ begin
    drop policy if exists of_principal on {s}.sessions;
    drop policy if exists of_role on {s}.reader_roles;
end $$;
alter table {s}.sessions enable row level security;
create policy of_principal on {s}.sessions for select using (
    case when exists (select from {s}.reader_roles where role = current_user)
    then principal in (select r.principal from {s}.reader_roles r where r.role = current_user)
    else principal = current_setting('jackfield.principal', true) end
);
alter table {s}.reader_roles enable row level security;
create policy of_role on {s}.reader_roles for select using (role = current_user);
"""
"""A role that is named in `reader_roles` sees the sessions of the principals there, any other those of the principal
that it sets. Of the other tables, those with a session show what belongs to a session that is seen."""

OF_SESSIONS: tuple[str, ...] = ("calls", "topics", "state", "logs", "events", "readers")

ROW_LEVEL_SECURITY_OF_SESSION = """
alter table {s}.{table} enable row level security;
drop policy if exists of_session on {s}.{table};
create policy of_session on {s}.{table} for select using (
    exists (select from {s}.sessions s where s.session_id = {table}.session_id)
);
"""
