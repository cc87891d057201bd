// Sessions of a simulated server, made and prompted by a test as somebody else would.
#pragma once

#include "support/plain_http.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <stdexcept>
#include <string>
#include <string_view>

namespace holdfast::test {

inline http_answer call_sim(unsigned short port, std::string_view method, const std::string& target,
                            const boost::json::object& body = {}) {
    auto answer =
        http_call(port, method, target, boost::json::serialize(body), "Content-Type: application/json\r\n");
    if (answer.status >= 300)
        throw std::runtime_error(std::string(method) + ' ' + target + ": " + std::to_string(answer.status));
    return answer;
}

/// @return its id
inline std::string make_session(unsigned short port, const std::string& title = "a session") {
    const auto made = call_sim(port, "POST", "/session", {{"title", title}});
    return std::string(boost::json::parse(made.body).at("id").as_string());
}

inline void prompt_session(unsigned short port, const std::string& session, const std::string& text) {
    boost::json::object body;
    body["parts"] = {{{"type", "text"}, {"text", text}}};
    call_sim(port, "POST", "/session/" + session + "/prompt_async", body);
}

inline void delete_session(unsigned short port, const std::string& session) {
    call_sim(port, "DELETE", "/session/" + session);
}

} // namespace holdfast::test
