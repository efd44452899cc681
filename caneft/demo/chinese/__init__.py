"""The Chinese twin. Of its domains, `science` and `microblog` are unseen in its demo; `news` and `laws` are spare."""

import re

from caneft.demo.chinese.grammar import chinese, order
from caneft.demo.chinese.sampling import ChineseWriter
from caneft.demo.twin import Twin

TWIN = Twin(ChineseWriter, chinese, order, length=lambda source: len(re.findall(r"\w", source)), lengths=range(6, 31))
