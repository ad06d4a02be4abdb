"""The registry client: references, hosts, logging in, resolving, fetching, pushing (OCI distribution-spec)."""
