"""Admission that objects of the cluster configure: webhooks and admission policies.

Whom they concern and what their answers mean is core/admission; this is what has to wait for webhooks and conversions.
"""
