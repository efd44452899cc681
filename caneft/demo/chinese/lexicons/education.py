"""Education: schools, the people who teach and learn there, and what they work on."""

AGENTS = """
学生  名  student
老师  位  teacher
校长  位  principal
班级  个  class
家长  位  parent
学校  所  school
"""

THINGS = """
作业    份  assignment
考试    场  exam
教材    本  textbook
课文    篇  text
试卷    份  paper
单词    个  word
词典    本  dictionary
练习    个  exercise
笔记    份  note
教室    间  classroom
证书    张  certificate
课程    门  course
"""

VERBS = """
批改  correct   corrects   corrected  corrected  correcting
复习  review    reviews    reviewed   reviewed   reviewing
完成  finish    finishes   finished   finished   finishing
抄写  copy      copies     copied     copied     copying
背诵  recite    recites    recited    recited    reciting
讲解  explain   explains   explained  explained  explaining
布置  assign    assigns    assigned   assigned   assigning
朗读  read      reads      read       read       reading
学习  study     studies    studied    studied    studying
"""

ADJECTIVES = """
优秀的  excellent
严格的  strict
熟悉的  familiar
外国的  foreign
合格的  qualified
有趣的  interesting
难忘的  memorable
"""
