"""Alerts fired for real: a platform at work, faults, Prometheus, Alertmanager, and a webhook that hears of it.

    scaling.py    production's rules and waits, everything that lasts divided by one factor
    receiver.py   the webhook
    watch.py      what Prometheus fires, looked at twice a second
    platform.py   the platform at work: feed, consumers, API, people who ask
    faults.py     what is done to it, beside what chaos.faults can do already
    matrix.py     which fault must fire which alerts, and which faults come at the same time
    execution.py  a control window, then group after group, into a history
    report.py     the matrix for people and machines, made from a history
    picture.py    the same as a picture on one clock
    suite/        the clause; `python -m chaos alerts` runs it

Nothing is judged here: conformance.checkers.alert_matrix does.
"""
