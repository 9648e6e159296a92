"""The verification harness: stacks to run, histories of what happened, checkers that judge, clauses that state what must hold."""
