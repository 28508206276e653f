"""Communication between processes of one user, over sockets in a directory that only this user can access.

`directory` (where the sockets are), `protocol` (frames, errors), `publishing` (a process that says which sessions it
holds), `asking` (asks all of them). Below all that has sessions: nothing here knows any.
"""
