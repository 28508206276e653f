"""One table of the programs whose files Jackfield reads: a row is one program, and a new program is a new row.

`table` says what a row holds; `agents`, `editors` and `apps` hold the rows; `known` finds the row of a file.
"""
