// capture: looks, now and then, at the sessions of one server that are followed without a stream, or whose
// stream is down. What a look shows goes through the session's turn_tracker, as events do. Not for users.
#pragma once

#include <holdfast/opencode/capture_view.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/task_scope.hpp>

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace holdfast::opencode::detail {

class server_core;
class session_core;

/// The captures of one server. Each session is looked at every `capture_config::tick`, all of them at about
/// the same moment, and after a look that failed by its own schedule; a slow one delays no other.
///
/// Thread safety: confined to the server's executor.
class captures {
public:
    using sessions = std::vector<std::shared_ptr<session_core>>;

    /// Looks run in `scope`, which must have ended before this is destroyed.
    captures(server_core& server, task_scope& scope);

    /// Looks until cancelled (terminal).
    [[nodiscard]] net::awaitable<void> run();

    /// A session is due sooner than it was.
    void look_soon() noexcept { changed_.notify_all(); }

    /// Somebody else reached the endpoint: sessions that wait because it did not answer are due.
    void endpoint_answers();

private:
    class slot;

    /// What is known of one directory.
    struct place {
        std::shared_ptr<const directory_view> seen;
        time_point at{};          ///< when that was asked for
        std::uint64_t number = 0; ///< of the view
        bool asking = false;
    };

    [[nodiscard]] time_point begin_looks();
    [[nodiscard]] bool begin_waiting();
    void begin_look(const std::shared_ptr<session_core>& session);
    void begin_view(place& where, const std::string& directory);
    void notice_a_move();
    void share_a_failure();
    void end_all();
    void forget_old_places();
    [[nodiscard]] bool is_usable(const place& where, const session_core& session) const;
    [[nodiscard]] bool is_full() const;
    [[nodiscard]] duration tick() const;
    [[nodiscard]] time_point next_tick() const;
    [[nodiscard]] net::awaitable<void> look_at(std::shared_ptr<session_core> session,
                                               std::shared_ptr<const directory_view> seen,
                                               std::shared_ptr<slot> mine);
    [[nodiscard]] net::awaitable<void> view(std::string directory, std::shared_ptr<slot> mine);
    [[nodiscard]] net::awaitable<result<std::shared_ptr<const directory_view>>>
    fetch_view(std::string directory);
    [[nodiscard]] net::awaitable<result<std::vector<session_info>>> find_descent(std::string session,
                                                                                 unsigned& lookups);
    void remember_stranger(const std::string& session);
    [[nodiscard]] net::awaitable<result<void>> check_who_answers();
    void on_failure(const sessions& looked_at, const failure& why);
    void on_answer();

    server_core& server_;
    task_scope& scope_;
    condition_variable changed_;
    std::size_t taken_ = 0;               ///< slots
    std::size_t counted_ = 0;             ///< sessions, in the gauge
    time_point phase_;                    ///< ticks are counted from here: servers do not tick in step
    std::map<std::string, place> places_; ///< by directory
    std::uint64_t views_ = 0;
    std::optional<endpoint> where_;                   ///< the server, when that was asked last
    bool answers_ = true;                             ///< the endpoint, when it was asked last
    time_point failed_at_{};                          ///< when it last did not
    std::uint64_t random_ = 0;                        ///< of that failure: who fails together waits together
    std::string version_;                             ///< of the server, as it was told last
    std::deque<std::weak_ptr<session_core>> waiting_; ///< those that are due and could not begin yet
    std::map<std::string, std::vector<std::weak_ptr<session_core>>>
        by_directory_;                          ///< as they were counted last
    std::set<std::string> strangers_;           ///< sessions that ask, and that the server does not know
    std::map<std::string, session_info> known_; ///< sessions that once asked, and those above them
};

} // namespace holdfast::opencode::detail
