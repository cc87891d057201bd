// What `holdfast watch` does towards servers: it holds them, finds their sessions, follows those, and tells
// the board.
#pragma once

#include "watch/board.hpp"
#include "watch/config.hpp"

#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/runtime.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::app {

/// Trouble with one server is that server's alone: it is told, and tried again for ever.
///
/// Thread safety: confined to the runtime's executor. What it started must have ended before destruction:
/// after stop() the executor's context runs out of work.
class watch_keeper {
public:
    /// What becomes of it. Neither may destroy it.
    struct hooks {
        std::function<void()> changed;                  ///< the board has changed
        std::function<void(std::exception_ptr)> failed; ///< something threw: not to be gone on with
    };

    /// What is given by reference must outlive it.
    watch_keeper(runtime& world, const watch_config& config, std::shared_ptr<const http::tls_context> tls,
                 watch_board& board, hooks what);
    ~watch_keeper();
    watch_keeper(const watch_keeper&) = delete;
    watch_keeper& operator=(const watch_keeper&) = delete;

    /// Watches until stop(). Once.
    void start();
    /// Ends all that was started, at once. Idempotent.
    void stop();

    /// Asks the servers to abort every turn that runs, at the longest until `deadline`.
    [[nodiscard]] net::awaitable<void> abort_all(time_point deadline);

    /// Why the watch does not do what it is for: a server was not asked yet, or rejects our credentials.
    /// Empty: it does.
    [[nodiscard]] std::string not_ready() const;

    /// Tries everything now that waits for its next attempt.
    void wake_all();

private:
    struct followed;
    struct held;

    void follow(held& where, const std::string& session, opencode::follow_by how);
    void take_over(const held& where, const std::string& session);
    void drop(held& where, const std::string& session);
    void drop_old(held& where, const std::vector<opencode::session_info>& newest);
    net::awaitable<bool> discover(held& where);
    void see_left_out(held& where, std::size_t sessions);
    void observe(held& where, std::string_view data);
    time_point now();
    net::awaitable<void> hold(held& where);
    net::awaitable<void> tend();
    net::awaitable<bool> look_at(held& where);
    net::awaitable<void> find_named(held& where);
    net::awaitable<void> hear(held& where, std::shared_ptr<followed> who);
    net::awaitable<void> abort(std::shared_ptr<followed> who);
    void begin_abort(std::shared_ptr<followed> who);
    void end_of(held& where, const followed& who);
    [[nodiscard]] std::optional<retry::failure> failed_since(const held& where) const;
    void on_failure(held& where, const retry::failure& why);
    void on_success(held& where);
    void heed_breaker(held& where);
    void show(held& where);
    net::awaitable<void> see_sessions(held& where);

    runtime& world_;
    const watch_config& config_;
    watch_board& board_;
    std::function<void()> on_change_;
    condition_variable aborted_;
    std::size_t aborting_ = 0;
    task_scope scope_;
    std::vector<std::unique_ptr<held>> servers_;
    std::map<std::string, std::set<const held*>> wanted_; // at whoever knows it, and who does not
};

} // namespace holdfast::app
