"""Laws: courts, contracts and the people they bind. A spare domain."""

AGENTS = """
法院    家  court
律师    位  lawyer
法官    位  judge
公民    名  citizen
证人    名  witness
申请人  名  applicant
"""

THINGS = """
合同    份  contract
法律    部  law
条款    项  clause
证件    张  permit
罚款    笔  fine
许可证  张  licence
权利    项  right
义务    项  obligation
案件    起  lawsuit
判决    项  judgment
税款    笔  tax
规章    项  regulation
"""

VERBS = """
批准  approve  approves  approved  approved  approving
修正  amend    amends    amended   amended   amending
废除  repeal   repeals   repealed  repealed  repealing
执行  enforce  enforces  enforced  enforced  enforcing
签署  sign     signs     signed    signed    signing
审理  hear     hears     heard     heard     hearing
撤销  revoke   revokes   revoked   revoked   revoking
登记  register registers registered registered registering
"""

ADJECTIVES = """
合法的  lawful
公正的  fair
相关的  relevant
地方的  regional
正式的  formal
特定的  particular
"""
