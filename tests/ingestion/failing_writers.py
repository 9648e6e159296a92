"""Writers whose commits or reads fail in ways of their own; all else they do is real."""

from collections.abc import Mapping
from typing import Any

from k2.errors import StaleWriterError, UnavailableError
from k2.storage.progress import PartitionKey, Progress, Topics
from k2.storage.writer import Advance, Committed, TableWriter, WrittenFiles


class CommitFails(TableWriter):
    """Every commit fails before it begins."""

    def commit(self, *_: object) -> Committed:
        raise UnavailableError("the catalog does not answer")


class FirstCommitDiffers(TableWriter):
    """What becomes of the first commit is for `first_commit` to say; every later one is real."""

    tried = False

    def commit(
        self,
        written: WrittenFiles,
        advances: Mapping[PartitionKey, Advance],
        topics: Topics,
        batch: str,
    ) -> Committed:
        if self.tried:
            return super().commit(written, advances, topics, batch)
        self.tried = True
        return self.first_commit(written, advances, topics, batch)

    def first_commit(
        self, written: WrittenFiles, advances: Mapping[PartitionKey, Advance], topics: Topics, batch: str
    ) -> Committed:
        raise NotImplementedError


class FirstCommitFails(FirstCommitDiffers):
    """The first commit fails and does not hold."""

    def first_commit(self, *_: object) -> Committed:
        raise UnavailableError("no answer")


class FirstCommitUnanswered(FirstCommitDiffers):
    """The first commit holds, and its answer is lost."""

    def first_commit(
        self, written: WrittenFiles, advances: Mapping[PartitionKey, Advance], topics: Topics, batch: str
    ) -> Committed:
        self.commit(written, advances, topics, batch)
        raise UnavailableError("no answer")


class FirstCommitRefused(FirstCommitDiffers):
    """Somebody else is first, once."""

    def first_commit(self, *_: object) -> Committed:
        raise StaleWriterError("another writer was first, nothing was written")


class FirstCommitOvertaken(FirstCommitDiffers):
    """The first commit is not answered, and somebody else commits past its end."""

    def first_commit(
        self, written: WrittenFiles, advances: Mapping[PartitionKey, Advance], topics: Topics, batch: str
    ) -> Committed:
        further = {
            key: Advance(one.expected_offset, one.next_offset + 1, one.state_path) for key, one in advances.items()
        }
        self.commit(written, further, topics, "somebody else's")
        raise UnavailableError("no answer")


class FirstProgressUnreadable(TableWriter):
    """The table's progress cannot be read the first time."""

    asked = False

    def progress(self) -> Progress:
        if not self.asked:
            self.asked = True
            raise UnavailableError("the catalog does not answer")
        return super().progress()


class SecondStateUnreadable(TableWriter):
    """The second state checkpoint asked for cannot be read the first time."""

    asked = 0

    def read_state(self, path: str) -> Any:
        self.asked += 1
        if self.asked == 2:
            raise UnavailableError("the warehouse does not answer")
        return super().read_state(path)
