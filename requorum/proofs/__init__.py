"""What must hold on the hosts before and after every step: one function a Given or a Then.

`hosts` is about machines (Steps 0 and 1), `configuration` about files (Steps 2 and 3), `data` about the new cluster
(Steps 4 and 5). Each names what it expects, looks at every host in parallel, and says what was found and what to do.
Assertions about hosts are testinfra's; what testinfra cannot see is asked with a command that changes nothing.
"""
