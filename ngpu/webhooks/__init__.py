"""Webhooks: customers' programs are told of the ends of tasks, at least once, in the form of Standard Webhooks."""
