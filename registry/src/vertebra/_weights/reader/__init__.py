"""Reading untrusted files in a child process: starting its program, and the limits that the program sets itself."""
