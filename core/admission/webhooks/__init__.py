"""Admission by webhooks, as far as it is decided without asking them: what they are, whom they concern, what is said.

(documentation "Dynamic Admission Control"; apiserver, admission/plugin/webhook)
"""
