"""The asyncio processes of a cluster: thin, each on the decisions that ``cybernetes.core`` makes."""

if __name__ == "services":  # a checkout, imported by its short name
    from cybernetes.alias import adopt

    adopt("services")
