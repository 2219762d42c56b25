"""Where sampled requests are kept: read when a rollback begins, so that what went wrong can be looked at afterwards."""
