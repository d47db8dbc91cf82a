package link
const ourProtocol = 112
