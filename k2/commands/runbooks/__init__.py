"""`k2 runbooks`: reads the pages people work from while something is wrong, and says what in them cannot be right.

    pages         a page's parts, links and command blocks
    shell         the simple commands of a block
    programs      which programs commands may name, and where each is found
    expressions   the metrics and labels of a PromQL expression
    deployment    what pages are held against: alerts, services, functions, metrics
    checks        what is wrong with one page, and with all of them together
    execution     the blocks run, one after the other
    report        what that run says
    running       the run as a command
    command       the command line

It reads files; commands are run only with --full, on a deployment that is marked as a demo.
"""
