// A server of the memory network that plays a script on each connection and remembers what it was asked.
#pragma once

#include <holdfast/testing/world.hpp>

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

/// One step of a script, `after` the one before it; the first counts from the whole request.
struct step {
    enum class kind { send, finish, reset };
    kind what = kind::send;
    std::string bytes;
    duration after{};
};

[[nodiscard]] step send(std::string bytes, duration after = {});
[[nodiscard]] step finish(duration after = {}); ///< FIN
[[nodiscard]] step reset(duration after = {});  ///< RST

/// An empty script never answers.
using script = std::vector<step>;

class scripted_server final : public testing::simulated_server {
public:
    struct asked {
        testing::wire_id wire = 0;
        time_point at;
        std::string text; ///< head and body

        /// The value of a header field, or empty.
        [[nodiscard]] std::string header(std::string_view name) const;
        [[nodiscard]] bool has_header(std::string_view name) const;
        [[nodiscard]] std::string target() const;
    };

    scripted_server(testing::world& world, endpoint where);
    ~scripted_server() override;

    [[nodiscard]] const endpoint& where() const noexcept { return where_; }

    /// For the next connection that has no script yet.
    void play(script what) { scripts_.push_back(std::move(what)); }
    /// For connections beyond those. At first: never answers.
    void play_ever_after(script what) { ever_after_ = std::move(what); }

    [[nodiscard]] const std::vector<asked>& requests() const noexcept { return requests_; }
    [[nodiscard]] std::size_t accepted_connections() const noexcept { return accepted_; }

    /// The connection accepted last.
    [[nodiscard]] testing::wire_id newest() const noexcept { return newest_; }
    void send_now(std::string_view bytes) { world_.net().send(newest_, bytes); }

    void accepted(testing::wire_id wire) override;
    void received(testing::wire_id wire, std::string_view bytes) override;
    void closed(testing::wire_id wire) override;

private:
    struct player {
        player(testing::world& world, script s)
            : steps(std::move(s)), clock(world.time(), world.io().get_executor()) {}
        script steps;
        std::size_t next = 0;
        std::string request;
        bool asked = false;
        timer clock;
    };

    void advance(testing::wire_id wire);
    void act(testing::wire_id wire, const step& what);

    testing::world& world_;
    endpoint where_;
    std::deque<script> scripts_;
    script ever_after_;
    std::vector<asked> requests_;
    std::map<testing::wire_id, player> players_;
    testing::wire_id newest_ = 0;
    std::size_t accepted_ = 0;
};

/// A whole response with a Content-Length. `more_headers`: lines, each with its CRLF.
[[nodiscard]] std::string response(int status, std::string_view type, std::string_view body,
                                   std::string_view more_headers = {});
/// The head of a chunked event stream.
[[nodiscard]] std::string sse_head();
[[nodiscard]] std::string chunk(std::string_view payload);
[[nodiscard]] std::string last_chunk();
/// The head, and `body` as the first chunk; the stream stays open.
[[nodiscard]] std::string sse_response(std::string_view body);

} // namespace holdfast::test
