// A server of the memory network that lies, lists without end or sends more than anybody can hold.
#pragma once

#include "support/coroutine.hpp"
#include "support/scripted_server.hpp"

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::test {

inline const endpoint hostile_port{"http", "127.0.0.1", 4096};

/// Answers each path as it is told, and anything else with 404.
class hostile_server final : public testing::simulated_server {
public:
    using answer = std::function<std::string(const std::string& target)>;

    explicit hostile_server(testing::world& world) : world_(world) {
        world_.net().listen(hostile_port, *this);
    }
    ~hostile_server() override { world_.net().stop_listening(hostile_port); }

    /// `path` without what is asked for after it.
    void on(std::string path, answer how) { answers_[std::move(path)] = std::move(how); }
    void json(std::string path, std::string body) {
        on(std::move(path), [body](const std::string&) { return response(200, "application/json", body); });
    }
    /// Never answers there.
    void hangs(std::string path) {
        on(std::move(path), [](const std::string&) { return std::string(); });
    }

    std::size_t asked(std::string_view path) const {
        return static_cast<std::size_t>(std::count(targets.begin(), targets.end(), path));
    }
    /// Targets that begin so.
    std::vector<std::string> asked_below(std::string_view path) const {
        std::vector<std::string> all;
        std::copy_if(targets.begin(), targets.end(), std::back_inserter(all),
                     [&](const std::string& each) { return each.starts_with(path); });
        return all;
    }

    void accepted(testing::wire_id wire) override {
        open.emplace(wire, std::string());
        most_at_once = std::max(most_at_once, open.size());
    }
    void received(testing::wire_id wire, std::string_view bytes) override {
        auto& request = open.at(wire);
        const bool was_whole = request.find("\r\n\r\n") != std::string::npos;
        request += bytes;
        if (was_whole || request.find("\r\n\r\n") == std::string::npos)
            return;
        const auto begin = request.find(' ') + 1;
        auto target = request.substr(begin, request.find(' ', begin) - begin);
        targets.push_back(target);
        asking_ = wire;
        const auto found = answers_.find(target.substr(0, target.find('?')));
        const auto text = found != answers_.end() ? found->second(target)
                          : fallback              ? fallback(target)
                                                  : response(404, "application/json", "{}");
        if (!text.empty())
            world_.net().send(wire, text);
    }
    void closed(testing::wire_id wire) override { open.erase(wire); }

    /// The head at once, and then one byte a second, on each connection on which it was asked for.
    void drips(std::string path, std::string text) {
        const auto held = std::make_shared<const std::string>(std::move(text));
        on(std::move(path), [this, held](const std::string&) {
            net::co_spawn(world_.io(), drip(asking_, held), net::detached);
            return std::string();
        });
    }

    std::vector<std::string> targets;
    std::map<testing::wire_id, std::string> open; ///< with what was asked there
    std::size_t most_at_once = 0;
    answer fallback;

private:
    net::awaitable<void> drip(testing::wire_id wire, std::shared_ptr<const std::string> text) {
        const auto head = text->find("\r\n\r\n") + 4;
        world_.net().send(wire, std::string_view(*text).substr(0, head));
        for (auto at = head; at < text->size() && open.contains(wire); ++at) {
            world_.net().send(wire, std::string_view(*text).substr(at, 1));
            co_await world_.rt().sleep_for(seconds(1));
        }
    }

    testing::world& world_;
    std::map<std::string, answer> answers_;
    testing::wire_id asking_ = 0;
};

inline std::string quoted(std::string_view text) {
    return '"' + std::string(text) + '"';
}

inline std::string session(std::string_view id, std::string_view parent = {},
                           std::string_view directory = "/d") {
    std::string text = R"({"id":)" + quoted(id) + R"(,"directory":)" + quoted(directory);
    if (!parent.empty())
        text += R"(,"parentID":)" + quoted(parent);
    return text + R"(,"title":"t","version":"1"})";
}

inline std::string user_message(std::string_view id, std::string_view session_id,
                                std::string_view more_parts = {}) {
    return R"({"info":{"id":)" + quoted(id) + R"(,"sessionID":)" + quoted(session_id) +
           R"(,"role":"user","time":{"created":1}},"parts":[{"id":"prt_)" + std::string(id) +
           R"(","messageID":)" + quoted(id) + R"(,"sessionID":)" + quoted(session_id) +
           R"(,"type":"text","text":"hi"})" + std::string(more_parts) + "]}";
}

inline std::string list(std::size_t n, const std::function<std::string(std::size_t)>& item) {
    std::string text = "[";
    for (std::size_t i = 0; i < n; ++i)
        text += (i == 0 ? "" : ",") + item(i);
    return text + ']';
}

struct a_hostile_server : in_simulated_world {
    hostile_server there{world};
    opencode::client_config how;
    opencode::client rest() {
        return opencode::client(world.rt(), *http::parse_url(to_string(hostile_port)), how);
    }

    /// How often others at the loop come to their turn.
    struct bystander {
        explicit bystander(testing::world& world) : world_(world) {
            world_.on_handler([this] { ++handlers; });
        }
        ~bystander() { world_.on_handler({}); }
        testing::world& world_;
        std::size_t handlers = 0;
    };

    template <class T>
    static void check_refused(const result<T>& got, errc code, std::string_view part_of_message) {
        BOOST_TEST_REQUIRE(got.has_error());
        BOOST_TEST((got.error().code == code), got.error().message);
        BOOST_TEST(got.error().message.find(part_of_message) != std::string::npos, got.error().message);
    }
};

struct a_followed_hostile_server : a_hostile_server {
    opencode::server_config config;
    std::optional<opencode::server> server;
    std::optional<task_scope> tasks;

    a_followed_hostile_server() {
        there.json("/global/health", R"({"healthy":true,"version":"1.18.33"})");
        there.json("/permission", "[]");
        there.json("/question", "[]");
        there.json("/session/status", "{}");
    }

    /// A session that is at work, with an open turn.
    void is_at_work(const std::string& id, std::string_view directory = "/d") {
        there.json("/session/" + id, session(id, {}, directory));
        there.json("/session/" + id + "/message", '[' + user_message("msg_1", id) + ']');
        there.json("/session/" + id + "/children", "[]");
    }

    void start() {
        server.emplace(world.rt(), *http::parse_url(to_string(hostile_port)), config);
        tasks.emplace(world.rt(), [](std::exception_ptr e) { std::rethrow_exception(e); });
        tasks->spawn(server->run());
    }
    net::awaitable<void> end() {
        server->stop();
        co_await tasks->join();
    }
    void finish() {
        server.reset();
        world.settle();
    }
};

} // namespace holdfast::test
