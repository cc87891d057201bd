#include "credentials.hpp"

#include <cstdlib>

namespace holdfast::app {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

void add_credentials(http::url& base, const std::string& user) {
    if (base.has_userinfo)
        return;
    const auto password = environment("OPENCODE_SERVER_PASSWORD");
    auto name = user.empty() ? environment("OPENCODE_SERVER_USERNAME") : user;
    if (const auto colon = name.find(':'); colon != std::string::npos) {
        base.password = name.substr(colon + 1);
        name.resize(colon);
    } else {
        base.password = password;
    }
    if (base.password.empty() && user.empty())
        return;
    base.user = name.empty() ? "opencode" : name;
    base.has_userinfo = true;
}

} // namespace holdfast::app
