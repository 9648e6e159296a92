"""What processes that start warm have: the libraries of K2's commands, loaded kernels, none of the modules they run."""

import k2.assembly.consuming
import k2.assembly.feeding
import k2.assembly.serving
import k2.commands.dead_letters
import k2.commands.query
import k2.commands.tables  # noqa: F401
from k2.ingestion import sequence_batch
from k2.records import decode

# Compiled code survives a fork as imported modules do. Nothing that starts a thread may: it would be gone in the child.
decode.warm_up()
sequence_batch.warm_up()
