// The library at work against a real server: held by a thread of its own, with real clocks, so that a test
// can stop and break things while it goes on; every call of a test waits for what it asked for.
#pragma once

#include "support/opencode_server.hpp"

#include <holdfast/opencode/server.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace holdfast::test {

/// How long a test waits for anything that must come: long, as machines may be busy.
inline constexpr std::chrono::seconds patience{60};

/// A configuration for tests: short grace and backoff, and no giving up. With HOLDFAST_TEST_GLOBAL_STREAM in
/// the environment, the server is held by its /global/event.
[[nodiscard]] opencode::server_config quick_config();

/// The same, but with a grace that covers the first prompt of a server: seconds on a busy machine.
[[nodiscard]] opencode::server_config patient_config();

class held_server;

/// One turn, its events collected as they come. A handle: copies are the same turn.
///
/// Thread safety: confined to the test's thread. The held_server must outlive it.
class held_turn {
public:
    using events = std::vector<opencode::agent_event>;

    /// Waits until the prompt was posted, or could not be.
    void wait_posted() const;
    [[nodiscard]] bool is_posted() const;
    /// The prompt's id; waits as wait_posted() does.
    [[nodiscard]] std::string message_id() const;
    [[nodiscard]] const std::string& session_id() const;

    [[nodiscard]] events so_far() const;
    /// Waits until the events so far are as wanted. @return whether that came.
    bool wait(const std::function<bool(const events&)>& wanted,
              std::chrono::milliseconds deadline = patience) const;
    /// Waits for some text of the answer.
    bool wait_text() const;
    /// Waits for an ask that nobody has answered. Throws when none comes.
    [[nodiscard]] opencode::permission_request wait_permission() const;
    [[nodiscard]] opencode::question_request wait_question() const;

    /// What was told of each part, of text and of reasoning.
    [[nodiscard]] std::map<std::string, std::string> texts() const;
    [[nodiscard]] std::string told_text() const;
    [[nodiscard]] std::string told_reasoning() const;
    template <class Event>
    [[nodiscard]] std::vector<Event> all() const {
        std::vector<Event> found;
        for (const auto& each : so_far())
            if (const auto* event = std::get_if<Event>(&each))
                found.push_back(*event);
        return found;
    }
    [[nodiscard]] bool told_missing() const;

    result<void> abort();
    result<void> reply_permission(const std::string& id, const std::string& reply);
    result<void> reply_question(const std::string& id, const std::vector<std::vector<std::string>>& answers);
    result<void> reject_question(const std::string& id);
    void detach();

    /// Waits for the settlement and for the end of the events, then checks what holds for every turn: one
    /// settlement, the last event; each ask told once; no text between an interruption and its gap; each
    /// part's text as the server has it, with no hole and no repeat unless a gap says so. Throws when no
    /// settlement comes.
    opencode::settlement settled(std::chrono::milliseconds deadline = patience);

private:
    friend class held_server;
    struct record;
    held_turn(held_server& server, std::shared_ptr<record> record)
        : server_(&server), record_(std::move(record)) {}

    held_server* server_;
    std::shared_ptr<record> record_;
};

/// An opencode::server that runs from construction to destruction.
///
/// Thread safety: confined to the test's thread.
class held_server {
public:
    explicit held_server(const std::string& url, opencode::server_config config = quick_config());
    ~held_server();
    held_server(const held_server&) = delete;
    held_server& operator=(const held_server&) = delete;

    /// A new session, held until destruction or drop(). @return its id. Throws when there is none.
    std::string new_session(const std::string& directory = {});
    /// Holds a session that exists.
    void open_session(const std::string& id);

    /// Prompts, and waits until it was posted, or could not be.
    held_turn prompt(const std::string& session, const std::string& text);
    held_turn prompt(const std::string& session, opencode::prompt what);
    /// The same without waiting.
    held_turn begin_prompt(const std::string& session, const std::string& text);
    held_turn begin_prompt(const std::string& session, opencode::prompt what);
    held_turn adopt(const std::string& session, const std::string& message);

    result<void> abort(const std::string& session);
    result<opencode::server_info> ready();
    void wake();
    void stop();

    /// Calls to the server where it was at first.
    [[nodiscard]] opencode::client& rest() noexcept { return rest_; }

    /// What the library logged so far, one record a line.
    [[nodiscard]] std::string log() const;

    /// Runs an operation of the library to its end. Throws what it throws, and std::runtime_error when it
    /// does not end.
    template <class T>
    T await(net::awaitable<T> operation) {
        const auto promise = std::make_shared<std::promise<T>>();
        auto done = promise->get_future();
        auto work = fulfil(promise, std::move(operation));
        net::co_spawn(io_, std::move(work), net::detached);
        if (done.wait_for(patience) != std::future_status::ready)
            throw std::runtime_error("an operation does not end");
        return done.get();
    }

private:
    friend class held_turn;
    class io_thread;

    // Asio's own future needs results that can be made of nothing.
    template <class T>
    static net::awaitable<void> fulfil(std::shared_ptr<std::promise<T>> promise,
                                       net::awaitable<T> operation) {
        try {
            if constexpr (std::is_void_v<T>) {
                co_await std::move(operation);
                promise->set_value();
            } else {
                promise->set_value(co_await std::move(operation));
            }
        } catch (...) {
            promise->set_exception(std::current_exception());
        }
    }

    held_turn begin(const std::string& session,
                    std::function<net::awaitable<opencode::turn>(opencode::session&)> make);
    [[nodiscard]] net::awaitable<void>
    collect(std::shared_ptr<held_turn::record> into, opencode::session session,
            std::function<net::awaitable<opencode::turn>(opencode::session&)> make);
    void keep(result<opencode::session> made);
    /// Runs `what` where the library runs.
    void inside(std::function<void()> what);

    struct log_lines;
    std::shared_ptr<log_lines> log_;
    net::io_context io_;
    runtime world_;
    opencode::server server_;
    opencode::client rest_;
    std::map<std::string, opencode::session> sessions_; // used where the library runs, as are all turns
    std::vector<std::shared_ptr<held_turn::record>> turns_;
    std::future<void> run_;
    std::unique_ptr<io_thread> thread_;
};

/// One server, warmed up, and one library for all tests of a program, as a program would have them: a
/// Boost.Test global fixture.
class held_world {
public:
    held_world();
    ~held_world();
    held_world(const held_world&) = delete;
    held_world& operator=(const held_world&) = delete;

    static held_server& held();

private:
    opencode_world world_;
    held_server held_;
};

/// Makes a prompt that may take long to begin, as the first of a server or of an instance does, so that the
/// next one begins at once.
void warm_up(opencode_server& server);

/// A prompt of one text.
[[nodiscard]] opencode::prompt text_prompt(std::string text);

/// Settles, and checks how.
void check_end(held_turn& turn, opencode::outcome outcome, opencode::rule rule, std::string_view text);

} // namespace holdfast::test
