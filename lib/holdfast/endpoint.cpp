#include <holdfast/endpoint.hpp>

namespace holdfast {

std::string to_string(const endpoint& where) {
    const bool v6 = where.host.find(':') != std::string::npos;
    std::string text = where.scheme + "://";
    text += v6 ? '[' + where.host + ']' : where.host;
    text += ':' + std::to_string(where.port);
    return where.unix_socket.empty() ? text : text + " (unix:" + where.unix_socket + ')';
}

} // namespace holdfast
