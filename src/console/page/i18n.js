// The page's words in English and Chinese. The choice is remembered; at first the browser's language decides.

const KEY = 'gantry.lang';

const en = {
  'app.tagline': 'Video console',
  'login.user': 'User', 'login.password': 'Password', 'login.submit': 'Sign in', 'login.busy': 'Signing in…',
  'login.hint': 'The first password is printed once when the node starts for the first time.',
  'login.wrong': 'User or password is wrong.', 'login.refused': 'Signing in is paused for a while: {msg}', 'login.failed': 'Signing in failed: {msg}',
  'login.expired': 'Your session has ended. Please sign in again.',
  'top.layout': 'Layout', 'top.layout.n': '{n} views', 'top.transport': 'Play by', 'top.sessions': 'Sessions', 'top.help': 'Keys',
  'top.logout': 'Sign out', 'top.menu': 'Devices', 'top.stats': 'Statistics on all views', 'top.closeall': 'Close all views',
  'transport.auto': 'Automatic', 'transport.webrtc': 'WebRTC', 'transport.fmp4': 'WebSocket fMP4', 'transport.flv': 'WebSocket FLV',
  'tree.title': 'Devices', 'tree.search': 'Search name or code', 'tree.online': 'Online only', 'tree.refresh': 'Load the list again',
  'tree.none': 'No device has registered yet', 'tree.none.hint': 'Point a camera or recorder at this node as its SIP server, port 5060, or start the node with --demo.',
  'tree.nomatch': 'Nothing matches', 'tree.loading': 'Loading devices…', 'tree.failed': 'The list could not be loaded: {msg}',
  'tree.count': '{online} / {total}', 'tree.nochannels': 'No channels reported',
  'tile.empty': 'Empty', 'tile.empty.hint': 'Choose a channel from the list', 'tile.close': 'Close view', 'tile.mute': 'Mute', 'tile.unmute': 'Sound on',
  'tile.stats': 'Statistics', 'tile.info': 'Details', 'tile.full': 'Full screen', 'tile.retry': 'Try again', 'tile.retryin': 'Trying again in {s} s', 'tile.shot': 'Save picture',
  'tile.view': 'View {n}: {name}', 'tile.noaudio': 'No sound in this stream', 'tile.instead': 'instead of {failed}: {why}', 'tile.tryother': 'Try {transport}',
  'state.opening': 'Asking the device for its picture', 'state.connecting': 'Connecting', 'state.waiting': 'Waiting for the first picture', 'state.next': 'Trying {transport}',
  'stats.codec': 'Codec', 'stats.size': 'Size', 'stats.fps': 'Frames/s', 'stats.rate': 'Bit rate', 'stats.loss': 'Loss', 'stats.first': 'First frame', 'stats.transport': 'Transport',
  'stats.dropped': 'Dropped', 'stats.sound': 'Sound', 'stats.rtt': 'Round trip', 'stats.buffer': 'Buffer', 'stats.none': 'none',
  'panel.details': 'Details', 'panel.close': 'Close', 'panel.nothing': 'Select a playing view to see its session.', 'panel.device': 'Device', 'panel.view': 'In this browser',
  'panel.session': 'Session on the node', 'panel.nosession': 'The node lists no session for this view.', 'panel.sessions.none': 'No open sessions', 'panel.end': 'End', 'panel.failed': 'Not available: {msg}',
  'diag.counters': 'Media from the device', 'diag.rate': 'Bit rate', 'diag.fps': 'Frames', 'diag.packets': 'Packets received', 'diag.lost': 'Lost', 'diag.order': 'Reordered / duplicate / late',
  'diag.frames': 'Pictures / key frames', 'diag.foreign': 'Of a foreign SSRC', 'diag.kernel': 'Dropped by the kernel', 'diag.invalid': 'Neither RTP nor RTCP', 'diag.damaged': 'Damaged frames',
  'diag.dropped': 'Frames left out', 'diag.held': 'Frames held back', 'diag.asked': 'Key frames asked for', 'diag.moves': 'Moves to another address', 'diag.refused': 'From a stranger\'s address', 'diag.drift': 'Clock drift', 'diag.rtcp': 'RTCP received / sent', 'diag.jumps': 'Jumps of time', 'diag.restarts': 'Restarts of the sender', 'diag.ps': 'PS errors', 'diag.attempts': 'Transports tried', 'diag.path': 'Transport and addresses',
  'diag.path.transport': 'Transport', 'diag.path.ssrc': 'SSRC', 'diag.path.offered': 'Device sends to', 'diag.path.answered': 'Device named', 'diag.path.source': 'Packets come from', 'diag.path.sipPeer': 'SIP comes from',
  'diag.by.udp': 'UDP', 'diag.by.tcp-passive': 'TCP, it connects', 'diag.by.tcp-active': 'TCP, we connect', 'diag.tracks': 'Picture and sound', 'diag.sip': 'SIP of this view', 'diag.sip.none': 'No message is kept.',
  'diag.device': 'All SIP of the device', 'diag.show': 'Show', 'diag.hide': 'Hide', 'diag.pcap': 'Save .pcap', 'diag.pcap.hint': 'For Wireshark, without secrets', 'diag.copy': 'Copy', 'diag.copy.hint': 'As text, without secrets',
  'diag.copied': 'Copied', 'diag.copy.failed': 'Not allowed', 'diag.times': 'As often since {since}',
  'diag.step.invite': 'INVITE', 'diag.step.answer': 'Answer', 'diag.step.rtp': 'RTP', 'diag.step.ps': 'PS', 'diag.step.tracks': 'Tracks', 'diag.step.keyFrame': 'Key frame', 'diag.step.firstByte': 'Viewer',
  'diag.step.invite.hint': 'The device was asked', 'diag.step.answer.hint': '200 OK with usable SDP', 'diag.step.rtp.hint': 'First RTP packet of the right SSRC', 'diag.step.ps.hint': 'First program stream header in the packets',
  'diag.step.tracks.hint': 'Codec and parameter sets known', 'diag.step.keyFrame.hint': 'A viewer could start', 'diag.step.firstByte.hint': 'First bytes sent to this viewer',
  'diag.session.id': 'Session', 'diag.session.by': 'By', 'diag.session.user': 'User', 'diag.session.peer': 'Viewer', 'diag.session.begun': 'Begun', 'diag.session.ended': 'Ended', 'diag.session.first': 'First frame',
  'diag.session.sent': 'Sent', 'diag.session.skipped': 'Skipped ahead',
  'col.target': 'Channel', 'col.kind': 'By', 'col.user': 'User', 'col.stage': 'Stage', 'col.sent': 'Sent',
  'bar.events': 'Connected', 'bar.events.lost': 'Connection to the node lost, reconnecting', 'bar.devices': '{online}/{total} devices online', 'bar.views': '{n} playing', 'bar.rate': '{rate} in',
  'help.title': 'Keys', 'help.search': 'Search devices', 'help.layout': 'Layout 1, 4, 9, 16', 'help.move': 'Move between views', 'help.sound': 'Sound', 'help.stats': 'Statistics', 'help.info': 'Details',
  'help.full': 'Full screen', 'help.close': 'Close view', 'help.retry': 'Try again', 'help.help': 'This list', 'help.tree': 'In the list: open, close, play',
  'status.online': 'online', 'status.offline': 'offline',
  'stage.no answer': 'No answer', 'stage.rejected': 'Refused by the device', 'stage.bad answer': 'Unusable answer', 'stage.no connection': 'No connection', 'stage.no RTP': 'No media arrived',
  'stage.foreign SSRC': 'Foreign media', 'stage.no PS': 'Not a program stream', 'stage.no PSM': 'Contents not declared', 'stage.no key frame': 'No key frame', 'stage.unsupported codec': 'Unsupported codec',
  'stage.ended by device': 'Ended by the device', 'stage.device lost': 'Device lost', 'stage.the device is offline': 'Device is offline', 'stage.refused': 'Not possible', 'stage.unreachable': 'Node unreachable',
  'stage.no route': 'No path for WebRTC', 'stage.no picture': 'No picture', 'stage.browser codec': 'This browser cannot decode it', 'stage.no websocket': 'WebSocket refused', 'stage.interrupted': 'Interrupted',
  'stage.decode error': 'Decoding failed', 'stage.bad stream': 'Unreadable stream', 'stage.too slow': 'Too slow', 'stage.unsupported': 'Not in this browser',
  'hint.the device is offline': 'It is tried again as soon as the device registers.',
  'hint.no route': 'UDP does not get through to the node; open its WebRTC port in the firewall.',
  'hint.browser codec': 'Set the device to H.264, or use a browser with H.265.',
};

const zh = {
  'app.tagline': '视频控制台',
  'login.user': '用户名', 'login.password': '密码', 'login.submit': '登录', 'login.busy': '正在登录…',
  'login.hint': '初始密码在节点首次启动时打印一次。',
  'login.wrong': '用户名或密码错误。', 'login.refused': '登录已暂时停用：{msg}', 'login.failed': '登录失败：{msg}', 'login.expired': '会话已结束，请重新登录。',
  'top.layout': '布局', 'top.layout.n': '{n} 画面', 'top.transport': '播放方式', 'top.sessions': '会话', 'top.help': '快捷键',
  'top.logout': '退出', 'top.menu': '设备', 'top.stats': '所有画面显示统计', 'top.closeall': '关闭所有画面',
  'transport.auto': '自动', 'transport.webrtc': 'WebRTC', 'transport.fmp4': 'WebSocket fMP4', 'transport.flv': 'WebSocket FLV',
  'tree.title': '设备', 'tree.search': '搜索名称或编码', 'tree.online': '仅在线', 'tree.refresh': '重新加载列表',
  'tree.none': '尚无设备注册', 'tree.none.hint': '请将摄像机或录像机的 SIP 服务器指向本节点（端口 5060），或用 --demo 启动节点。',
  'tree.nomatch': '没有匹配项', 'tree.loading': '正在加载设备…', 'tree.failed': '列表加载失败：{msg}',
  'tree.count': '{online} / {total}', 'tree.nochannels': '未上报通道',
  'tile.empty': '空闲', 'tile.empty.hint': '请从列表中选择通道', 'tile.close': '关闭画面', 'tile.mute': '静音', 'tile.unmute': '打开声音',
  'tile.stats': '统计', 'tile.info': '详情', 'tile.full': '全屏', 'tile.retry': '重试', 'tile.retryin': '{s} 秒后重试', 'tile.shot': '保存截图',
  'tile.view': '画面 {n}：{name}', 'tile.noaudio': '此码流没有声音', 'tile.instead': '代替 {failed}：{why}', 'tile.tryother': '改用 {transport}',
  'state.opening': '正在向设备请求画面', 'state.connecting': '正在连接', 'state.waiting': '正在等待首帧', 'state.next': '正在尝试 {transport}',
  'stats.codec': '编码', 'stats.size': '分辨率', 'stats.fps': '帧率', 'stats.rate': '码率', 'stats.loss': '丢包', 'stats.first': '首帧耗时', 'stats.transport': '传输',
  'stats.dropped': '丢帧', 'stats.sound': '声音', 'stats.rtt': '往返时延', 'stats.buffer': '缓冲', 'stats.none': '无',
  'panel.details': '详情', 'panel.close': '关闭', 'panel.nothing': '选择一个正在播放的画面以查看其会话。', 'panel.device': '设备', 'panel.view': '本浏览器',
  'panel.session': '节点上的会话', 'panel.nosession': '节点上没有此画面的会话。', 'panel.sessions.none': '没有打开的会话', 'panel.end': '结束', 'panel.failed': '无法获取：{msg}',
  'diag.counters': '设备媒体', 'diag.rate': '码率', 'diag.fps': '帧率', 'diag.packets': '收到的包', 'diag.lost': '丢包', 'diag.order': '乱序 / 重复 / 迟到',
  'diag.frames': '画面帧 / 关键帧', 'diag.foreign': 'SSRC 不符', 'diag.kernel': '内核丢弃', 'diag.invalid': '非 RTP/RTCP', 'diag.damaged': '受损帧',
  'diag.dropped': '丢弃的帧', 'diag.held': '暂缓的帧', 'diag.asked': '请求关键帧', 'diag.moves': '来源地址变更', 'diag.refused': '来自陌生地址', 'diag.drift': '时钟漂移', 'diag.rtcp': 'RTCP 收 / 发', 'diag.jumps': '时间跳变', 'diag.restarts': '发送端重启', 'diag.ps': 'PS 错误', 'diag.attempts': '尝试过的传输方式', 'diag.path': '传输与地址',
  'diag.path.transport': '传输', 'diag.path.ssrc': 'SSRC', 'diag.path.offered': '要求发往', 'diag.path.answered': '设备声明', 'diag.path.source': '媒体来源', 'diag.path.sipPeer': 'SIP 来源',
  'diag.by.udp': 'UDP', 'diag.by.tcp-passive': 'TCP 被动', 'diag.by.tcp-active': 'TCP 主动', 'diag.tracks': '画面与声音', 'diag.sip': '本次点播的 SIP', 'diag.sip.none': '没有保留的报文。',
  'diag.device': '设备的全部 SIP', 'diag.show': '显示', 'diag.hide': '收起', 'diag.pcap': '下载 .pcap', 'diag.pcap.hint': '供 Wireshark 使用，不含密码', 'diag.copy': '复制', 'diag.copy.hint': '复制为文本，不含密码',
  'diag.copied': '已复制', 'diag.copy.failed': '不允许', 'diag.times': '自 {since} 起的次数',
  'diag.step.invite': 'INVITE', 'diag.step.answer': '应答', 'diag.step.rtp': 'RTP', 'diag.step.ps': 'PS', 'diag.step.tracks': '轨道', 'diag.step.keyFrame': '关键帧', 'diag.step.firstByte': '观看',
  'diag.step.invite.hint': '已向设备发出请求', 'diag.step.answer.hint': '200 OK，SDP 可用', 'diag.step.rtp.hint': '第一个 SSRC 正确的 RTP 包', 'diag.step.ps.hint': '包中的第一个 PS 头',
  'diag.step.tracks.hint': '编码与参数集已知', 'diag.step.keyFrame.hint': '可以开始播放', 'diag.step.firstByte.hint': '首批数据已发给观看者',
  'diag.session.id': '会话', 'diag.session.by': '方式', 'diag.session.user': '用户', 'diag.session.peer': '观看者', 'diag.session.begun': '开始', 'diag.session.ended': '结束', 'diag.session.first': '首帧耗时',
  'diag.session.sent': '已发送', 'diag.session.skipped': '跳帧次数',
  'col.target': '通道', 'col.kind': '方式', 'col.user': '用户', 'col.stage': '阶段', 'col.sent': '已发送',
  'bar.events': '已连接', 'bar.events.lost': '与节点的连接中断，正在重连', 'bar.devices': '设备在线 {online}/{total}', 'bar.views': '播放中 {n} 路', 'bar.rate': '接收 {rate}',
  'help.title': '快捷键', 'help.search': '搜索设备', 'help.layout': '1、4、9、16 画面', 'help.move': '在画面间移动', 'help.sound': '声音', 'help.stats': '统计', 'help.info': '详情',
  'help.full': '全屏', 'help.close': '关闭画面', 'help.retry': '重试', 'help.help': '本列表', 'help.tree': '列表中：展开、收起、播放',
  'status.online': '在线', 'status.offline': '离线',
  'stage.no answer': '设备无应答', 'stage.rejected': '设备拒绝', 'stage.bad answer': '应答无法使用', 'stage.no connection': '连接失败', 'stage.no RTP': '未收到媒体流',
  'stage.foreign SSRC': 'SSRC 不符', 'stage.no PS': '不是 PS 流', 'stage.no PSM': '缺少 PSM', 'stage.no key frame': '没有关键帧', 'stage.unsupported codec': '不支持的编码',
  'stage.ended by device': '设备结束了会话', 'stage.device lost': '设备掉线', 'stage.the device is offline': '设备离线', 'stage.refused': '无法播放', 'stage.unreachable': '无法连接节点',
  'stage.no route': 'WebRTC 网络不通', 'stage.no picture': '没有画面', 'stage.browser codec': '浏览器无法解码', 'stage.no websocket': 'WebSocket 被拒绝', 'stage.interrupted': '播放中断',
  'stage.decode error': '解码失败', 'stage.bad stream': '码流无法识别', 'stage.too slow': '处理速度不足', 'stage.unsupported': '浏览器不支持',
  'hint.the device is offline': '设备上线后将自动重试。',
  'hint.no route': 'UDP 无法到达节点；请在防火墙中开放其 WebRTC 端口。',
  'hint.browser codec': '请将设备编码改为 H.264，或使用支持 H.265 的浏览器。',
  'hint.interrupted': '连接中断。', 'hint.unreachable': '请检查网络。',
  'hint.no picture': '已连接，但没有可解码的画面。', 'hint.no websocket': '途中的代理可能不允许 WebSocket。',
};

const words = { en, zh };
let current = localStorage.getItem(KEY) ?? (/^zh/i.test(navigator.language) ? 'zh' : 'en');
if (!words[current]) current = 'en';
const listeners = new Set();

export const lang = () => current;
export function onLang(listener) { listeners.add(listener); }

export function setLang(value) {
  current = value;
  localStorage.setItem(KEY, value);
  translatePage();
  for (const listener of listeners) listener();
}

/** The words for `key`, with `{name}` filled in; English where Chinese has none. */
export function t(key, params = {}) {
  const text = words[current][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => params[name] ?? '');
}

/** Whether the current language has own words for `key`. */
export const has = (key) => words[current][key] !== undefined;

/** Fills in what index.html marks: `data-t` for text, `data-t-title` and `data-t-placeholder` for attributes. */
export function translatePage() {
  document.documentElement.lang = current === 'zh' ? 'zh-CN' : 'en';
  for (const el of document.querySelectorAll('[data-t]')) el.textContent = t(el.dataset.t);
  for (const el of document.querySelectorAll('[data-t-title]')) {
    el.title = t(el.dataset.tTitle);
    el.setAttribute('aria-label', el.title);
  }
  for (const el of document.querySelectorAll('[data-t-placeholder]')) el.placeholder = t(el.dataset.tPlaceholder);
}
