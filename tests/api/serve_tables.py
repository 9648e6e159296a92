"""Serve the tables of a folder: `python -m tests.api.serve_tables FOLDER '{"port": 0}'`. Prints the address."""

import json
import sys
from pathlib import Path

from k2.api.app import create_app
from k2.api.draining import Draining
from k2.api.server import serve
from k2.clock import SystemClock
from k2.errors import K2Error
from k2.settings import ApiSettings, QuerySettings
from tests.query.table_files import open_engine


def main() -> int:
    """Serve until told to stop; gives the exit code."""
    folder, given = Path(sys.argv[1]), json.loads(sys.argv[2])
    settings = ApiSettings(**given)
    opened = open_engine(folder, QuerySettings(pool_size=2, threads=1, memory_limit="256MB"))
    try:
        with opened.pool:
            draining = Draining()
            app = create_app(opened.engine, settings, opened.metrics, SystemClock(), draining=draining)
            serve(app, settings, opened.metrics, draining=draining)
    except K2Error as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
