"""The zero-account world: a Slack look-alike with a page, model servers, load, a real Envoy."""
