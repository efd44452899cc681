"""Science and technology: laboratories, instruments and what they measure."""

AGENTS = """
科学家  位  scientist
工程师  位  engineer
研究员  名  researcher
机器人  个  robot
实验室  个  laboratory
技术员  名  technician
"""

THINGS = """
样品    份  sample
细胞    个  cell
行星    颗  planet
分子    个  molecule
电池    块  battery
仪器    台  instrument
病毒    种  virus
基因    个  gene
矿石    块  ore
芯片    块  chip
望远镜  台  telescope
溶液    种  solution
电路    条  circuit
"""

VERBS = """
测量  measure      measures      measured      measured      measuring
观察  observe      observes      observed      observed      observing
研究  investigate  investigates  investigated  investigated  investigating
合成  synthesize   synthesizes   synthesized   synthesized   synthesizing
加热  heat         heats         heated        heated        heating
控制  control      controls      controlled    controlled    controlling
探测  detect       detects       detected      detected      detecting
模拟  simulate     simulates     simulated     simulated     simulating
改进  improve      improves      improved      improved      improving
"""

ADJECTIVES = """
活跃的  active
稳定的  stable
先进的  advanced
敏感的  sensitive
独特的  unique
高效的  efficient
复杂的  complex
"""
