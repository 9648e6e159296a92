"""What an error means for the work under way: retry, set one record aside, or stop. Imports no third party."""
