"""What processes that start warm have imported: what K2's commands need, but none of the modules they run as."""

import k2.assembly.consuming
import k2.assembly.feeding
import k2.assembly.serving
import k2.commands.dead_letters
import k2.commands.query
import k2.commands.tables  # noqa: F401
