"""The verbs of the generic path: one function each, the same for every resource."""
