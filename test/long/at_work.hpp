// The library at work on a thread of its own, for programs that break the world around it meanwhile: turns
// are begun and aborted from any thread, and each event is kept with the moment at which it was handed out.
#pragma once

#include <holdfast/opencode/server.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace holdfast::test {

/// One turn, as it was told. Thread safety: every member function may be called from any thread.
class told_turn {
public:
    using clock = std::chrono::steady_clock;
    using moment = clock::time_point;
    struct entry {
        moment when;
        opencode::agent_event event;
    };

    told_turn(std::string session, std::string reply)
        : session_(std::move(session)), reply_(std::move(reply)) {}

    [[nodiscard]] const std::string& session() const noexcept { return session_; }
    /// What permission asks are answered, and whether questions are.
    [[nodiscard]] const std::string& reply() const noexcept { return reply_; }
    [[nodiscard]] std::string message() const; ///< empty: not known yet
    [[nodiscard]] std::vector<entry> events() const;
    [[nodiscard]] bool ended() const;
    [[nodiscard]] moment asked_at() const noexcept { return asked_at_; }
    [[nodiscard]] std::optional<moment> settled_at() const;
    /// When an abort was asked for by abort(), and when the server had accepted it.
    [[nodiscard]] std::optional<moment> abort_asked_at() const;
    [[nodiscard]] std::optional<moment> abort_accepted_at() const;
    /// @return whether all was told within the deadline.
    bool wait_end(std::chrono::milliseconds deadline) const;

private:
    friend class library_at_work;
    template <class Change>
    void change(Change what) {
        const std::lock_guard lock(mutex_);
        what();
        changed_.notify_all();
    }

    const std::string session_;
    const std::string reply_;
    const moment asked_at_ = clock::now();
    std::optional<opencode::turn> handle_; // used where the library runs
    mutable std::mutex mutex_;             // guards what follows
    mutable std::condition_variable changed_;
    std::string message_;
    bool ended_ = false;
    std::optional<moment> abort_asked_at_;
    std::optional<moment> abort_accepted_at_;
    std::vector<entry> told_;
};

/// An opencode::server that runs from construction to destruction. Answers asks by itself, and goes on trying
/// to answer and to abort until the server has accepted it or the turn is over.
///
/// Thread safety: every member may be called from any thread but the library's own.
class library_at_work {
public:
    library_at_work(const std::string& url, opencode::server_config config);
    ~library_at_work();
    library_at_work(const library_at_work&) = delete;
    library_at_work& operator=(const library_at_work&) = delete;

    /// Throws std::runtime_error when there is none within a minute.
    std::string new_session(const std::string& directory);
    void drop(const std::string& session);
    std::shared_ptr<told_turn> prompt(const std::string& session, const std::string& text,
                                      const std::string& reply);
    void abort(const std::shared_ptr<told_turn>& turn);

    /// What the library logged, one record a line.
    [[nodiscard]] std::string log() const;

private:
    void inside(std::function<void()> what);
    net::awaitable<void> make_session(std::string directory, std::shared_ptr<std::promise<std::string>> made);
    net::awaitable<void> follow(std::shared_ptr<told_turn> told, opencode::session session, std::string text);
    net::awaitable<void> answer(std::shared_ptr<told_turn> told, std::string ask);
    net::awaitable<void> answer_question(std::shared_ptr<told_turn> told, std::string ask);
    net::awaitable<void> ask_abort(std::shared_ptr<told_turn> told);
    void log_error(const std::string& text);

    mutable std::mutex mutex_; // guards log_
    std::string log_;
    net::io_context io_{1};
    runtime world_;
    opencode::server server_;
    task_scope tasks_;
    std::map<std::string, opencode::session> sessions_; // used where the library runs
    net::executor_work_guard<net::io_context::executor_type> work_;
    std::thread thread_;
};

} // namespace holdfast::test
