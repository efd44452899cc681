"""Spoken language: people on their way, in shops and at home."""

AGENTS = """
妈妈    位  mother
服务员  位  waiter
司机    位  driver
医生    位  doctor
同事    位  colleague
游客    位  tourist
"""

THINGS = """
咖啡    杯  coffee
菜单    份  menu
票      张  ticket
手机    部  phone
衬衫    件  shirt
行李箱  个  suitcase
钥匙    把  key
雨伞    把  umbrella
蛋糕    块  cake
地图    张  map
账单    张  bill
出租车  辆  taxi
"""

VERBS = """
安排  organize   organizes   organized    organized    organizing
推荐  recommend  recommends  recommended  recommended  recommending
解释  clarify    clarifies   clarified    clarified    clarifying
处理  handle     handles     handled      handled      handling
取消  cancel     cancels     cancelled    cancelled    cancelling
预订  reserve    reserves    reserved     reserved     reserving
打开  open       opens       opened       opened       opening
修理  repair     repairs     repaired     repaired     repairing
挑选  choose     chooses     chose        chosen       choosing
"""

ADJECTIVES = """
可爱的  lovely
漂亮的  beautiful
可笑的  ridiculous
难得的  rare
讨厌的  annoying
完美的  perfect
神秘的  mysterious
"""
