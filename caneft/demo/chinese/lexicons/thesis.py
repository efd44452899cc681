"""Theses: academic writing about models, theories and data."""

AGENTS = """
作者    位  author
学者    位  scholar
教授    位  professor
导师    位  supervisor
研究生  名  postgraduate
企业    家  enterprise
"""

THINGS = """
论文  篇  thesis
模型  个  model
理论  个  theory
文献  篇  article
假设  个  hypothesis
问卷  份  questionnaire
指标  个  indicator
变量  个  variable
案例  个  case
结论  个  conclusion
图表  张  chart
章节  个  chapter
概念  个  concept
"""

VERBS = """
分析  analyse    analyses    analysed    analysed    analysing
验证  verify     verifies    verified    verified    verifying
提出  propose    proposes    proposed    proposed    proposing
构建  construct  constructs  constructed constructed constructing
总结  summarize  summarizes  summarized  summarized  summarizing
评价  evaluate   evaluates   evaluated   evaluated   evaluating
引用  cite       cites       cited       cited       citing
比较  compare    compares    compared    compared    comparing
修订  revise     revises     revised     revised     revising
"""

ADJECTIVES = """
传统的  traditional
主要的  main
典型的  typical
独立的  independent
客观的  objective
理性的  rational
权威的  authoritative
"""
