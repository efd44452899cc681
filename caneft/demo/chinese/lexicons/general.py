"""General vocabulary: the words that every domain may use, and the whole of the `general` texts."""

AGENTS = """
朋友  位  friend
孩子  个  child
邻居  位  neighbour
客人  位  guest
女人  个  woman
男人  个  man
家庭  个  family
同伴  位  companion
"""

THINGS = """
书    本  book
信    封  letter
问题  个  question
答案  个  answer
礼物  件  gift
房间  个  room
桌子  张  table
椅子  把  chair
图片  张  picture
汽车  辆  car
房子  座  house
主意  个  idea
箱子  个  box
故事书  本  storybook
"""

VERBS = """
买    buy       buys       bought      bought      buying
准备  prepare   prepares   prepared    prepared    preparing
介绍  introduce introduces introduced  introduced  introducing
描述  describe  describes  described   described   describing
讨论  discuss   discusses  discussed   discussed   discussing
检查  check     checks     checked     checked     checking
使用  use       uses       used        used        using
改变  change    changes    changed     changed     changing
整理  arrange   arranges   arranged    arranged    arranging
"""

ADJECTIVES = """
新      new
不错的  nice
普通的  ordinary
特别的  special
重要的  important
有名的  famous
可靠的  reliable
奇怪的  strange
真正的  genuine
"""

# Verbs that take a clause.
REPORTING = """
认为  think   thinks   thought  thought  thinking
说    say     says     said     said     saying
知道  know    knows    knew     known    knowing
发现  notice  notices  noticed  noticed  noticing
"""

# Adverb, the forms of the verb that it goes with, English adverb.
ADVERBS = """
今天  present,past,past_passive,disposal,modal  today
昨天  past,past_passive,disposal                yesterday
最近  past,past_passive,disposal,perfect        recently
以前  perfect                                   previously
现在  progressive,modal                         now
明天  modal                                     tomorrow
平时  present                                   usually
每天  present,modal                             daily
"""

# The words before and after the noun (- for none), the nouns (any thing, or polysemous ones, which are abstract), the
# forms of the verb, English preposition.
PREPOSITIONS = """
在    中    abstract  present,past,past_passive,disposal,perfect,progressive,modal  in
在    之后  abstract  present,past,past_passive,disposal,perfect,modal              after
在    之前  abstract  present,past,past_passive,disposal,perfect,modal              before
通过  -     abstract  present,past,disposal,perfect,progressive,modal               through
用    -     any       present,past,disposal,perfect,progressive,modal               with
为了  -     any       present,past,disposal,perfect,progressive,modal               for
围绕  -     any       present,past,disposal,perfect,progressive,modal               around
"""
