"""News: governments, companies and the press. A spare domain."""

AGENTS = """
记者  名  reporter
市长  位  mayor
总统  位  president
政府  个  government
公司  家  company
居民  名  resident
"""

THINGS = """
政策  项  policy
会议  场  meeting
桥梁  座  bridge
港口  个  port
协议  项  agreement
灾害  场  disaster
选举  场  election
工厂  家  factory
报纸  份  newspaper
市场  个  market
机场  座  airport
预算  份  budget
"""

VERBS = """
宣布  announce   announces   announced   announced   announcing
报道  cover      covers      covered     covered     covering
公布  release    releases    released    released    releasing
批评  criticize  criticizes  criticized  criticized  criticizing
调查  probe      probes      probed      probed      probing
推迟  postpone   postpones   postponed   postponed   postponing
推广  promote    promotes    promoted    promoted    promoting
关闭  close      closes      closed      closed      closing
"""

ADJECTIVES = """
国内的  domestic
当地的  local
知名的  prominent
保守的  conservative
中立的  neutral
强大的  powerful
"""
