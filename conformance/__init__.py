"""The verification harness: stacks that run, histories of what happened, checkers that judge, clauses that demand."""
