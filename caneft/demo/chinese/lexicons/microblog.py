"""Microblogs: what people post, and who reads it."""

AGENTS = """
网友  位  user
粉丝  名  fan
明星  位  star
博主  位  blogger
歌手  位  singer
平台  个  platform
"""

THINGS = """
视频  段  video
照片  张  photo
评论  条  comment
话题  个  issue
表情  个  sticker
链接  条  hyperlink
歌曲  首  song
微博  条  tweet
直播  场  livestream
头像  个  avatar
电影  部  movie
账号  个  account
标签  个  hashtag
"""

VERBS = """
转发  repost    reposts    reposted    reposted    reposting
分享  share     shares     shared      shared      sharing
删除  delete    deletes    deleted     deleted     deleting
上传  upload    uploads    uploaded    uploaded    uploading
收藏  bookmark  bookmarks  bookmarked  bookmarked  bookmarking
发布  publish   publishes  published   published   publishing
举报  flag      flags      flagged     flagged     flagging
编辑  edit      edits      edited      edited      editing
置顶  pin       pins       pinned      pinned      pinning
"""

ADJECTIVES = """
热门的  popular
搞笑的  funny
真实的  real
可怕的  scary
匿名的  anonymous
官方的  official
疯狂的  crazy
"""
