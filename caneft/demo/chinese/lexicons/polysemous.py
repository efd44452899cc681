"""Polysemous nouns: one Chinese noun, one measure word, and a different English noun in each domain.

Some senses are the dictionary's, some are stretched so that every domain has its own. The columns name the domains, in
the order of the twin's domains; the last two are spare.
"""

AGENTS = """
noun  measure  education   spoken     thesis          science    microblog   news      laws

单位  个        department  workplace  institution     unit       employer    bureau    entity
机构  个        institute   office     organization    mechanism  agency      body      authority
组织  个        club        gang       team            tissue     group       union     association
对象  个        learner     partner    subject         specimen   follower    target    party
主任  位        dean        boss       chairman        director   moderator   chief     head
代表  位        monitor     spokesman  representative  proxy      ambassador  delegate  agent
"""

THINGS = """
noun  measure  education    spoken      thesis       science      microblog   news         laws

材料  份        handout      thing       source       substance    clip        file         exhibit
成绩  项        grade        score       achievement  result       record      success      merit
角度  个        viewpoint    side        perspective  angle        shot        slant        standpoint
课题  个        lesson       topic       theme        study        thread      agenda       matter
过程  个        stage        experience  process      reaction     journey     development  procedure
作用  种        role         use         function     effect       impact      influence    force
水平  种        ability      talent      standard     level        skill       performance  degree
基础  个        foundation   background  basis        base         start       groundwork   ground
方法  种        method       way         approach     technique    trick       strategy     means
内容  项        content      message     section      component    post        story        provision
条件  个        requirement  deal        assumption   condition    perk        circumstance term
结果  个        outcome      ending      finding      product      surprise    consequence  ruling
关系  种        link         friendship  correlation  relation     romance     tie          relationship
项目  个        program      plan        project      experiment   challenge   venture      item
资料  份        worksheet    leaflet     reference    dataset      profile     archive      dossier
意见  条        suggestion   opinion     remark       assessment   complaint   objection    submission
消息  条        notice       hint        announcement signal       update      report       notification
"""
