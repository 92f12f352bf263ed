"""Server-side apply and the ownership of fields that it rests on.

    elements        the steps of a field's path, as text          f:spec  k:{"name":"web"}
    fieldset        sets of fields: union, difference, …          the dicts that fieldsV1 holds
    mergetypes      the schema as apply reads it                  what is merged, what is one value
    extraction      configuration -> the set of its fields
    comparison      two objects -> what changed, what is gone     (kernel: ext/fieldchanges.pyx)
    merging         configuration into object
    removal         fields out of an object
    reconciliation  sets that were written under another schema
    managers        the entries of metadata.managedFields
    pruning         what a manager has abandoned
    fieldmanager    the whole: what a write does to the managers, what an apply makes of an object

Everything is pure: objects and names in, objects or refusals out. The words of the refusals are upstream's.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/, structured-merge-diff v6, apimachinery
``util/managedfields``.
"""
