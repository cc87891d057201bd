#include "credentials.hpp"

#include "input.hpp"
#include "stream_options.hpp"

#include <holdfast/http/ascii.hpp>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace holdfast::app {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

std::string read_user(std::string& user) {
    constexpr std::size_t longest = 4096;
    if (!user.starts_with('@'))
        return {};
    const auto file = user.substr(1);
    std::string text;
    if (auto wrong = read_all(file, longest, text); !wrong.empty())
        return wrong;
    user = text.substr(0, text.find_first_of("\r\n"));
    const bool has_control = std::any_of(user.begin(), user.end(), http::is_control);
    return user.empty() || has_control ? file + ": its first line is no NAME:PASSWORD" : std::string();
}

void add_credentials(http::url& base, const std::string& user) {
    if (base.has_userinfo)
        return;
    // 2.x takes its password from the first, else from the second; its user is always "opencode".
    const auto of_2 = environment("OPENCODE_PASSWORD");
    const auto password = of_2.empty() ? environment("OPENCODE_SERVER_PASSWORD") : of_2;
    auto name = user.empty() && of_2.empty() ? environment("OPENCODE_SERVER_USERNAME") : user;
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

std::string find_access(const std::string& server, const std::string& user, const http::tls_options& tls,
                        output& notes, server_access& into) {
    auto base = http::parse_url(server);
    if (!base)
        return base.error().message;
    into.base = std::move(*base);
    std::string who = user;
    if (auto wrong = read_user(who); !wrong.empty())
        return wrong;
    add_credentials(into.base, who);
    if (into.base.where.scheme != "https")
        return tls_options_for_nothing(tls);
    auto made = http::make_tls_context(tls);
    if (!made)
        return made.error().message;
    into.tls = std::move(*made);
    notes.text(tls_warning(tls));
    return {};
}

} // namespace holdfast::app
