"""What processes of one user tell each other, over sockets in a directory that is this user's alone.

`directory` (where the sockets are), `protocol` (frames, errors), `publishing` (a process that says which sessions it
holds), `asking` (asks all of them). Below all that has sessions: nothing here knows any.
"""
