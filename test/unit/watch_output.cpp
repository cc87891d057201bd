// Output that waits for nobody: a reader who does not read costs pieces, and is told how many.
#include <boost/test/unit_test.hpp>

#include "output_queue.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>

namespace {

using holdfast::app::output_queue;

constexpr std::size_t pipe_bytes = 4096;

struct small_pipe {
    int ends[2] = {-1, -1};

    small_pipe() {
        std::signal(SIGPIPE, SIG_IGN);
        BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        BOOST_REQUIRE(::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(pipe_bytes)) >= 0);
    }
    ~small_pipe() {
        close_reader();
        ::close(ends[1]);
    }
    void close_reader() {
        if (ends[0] >= 0)
            ::close(ends[0]);
        ends[0] = -1;
    }
    /// What is there after at least one byte came.
    std::string read() const {
        char bytes[65536];
        const auto size = ::read(ends[0], bytes, sizeof bytes);
        return {bytes, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
    }
};

std::string lost(std::size_t n) {
    return "<" + std::to_string(n) + ">\n";
}

bool drains(output_queue& queue) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    return queue.drain([until] { return std::chrono::steady_clock::now() < until; });
}

} // namespace

BOOST_AUTO_TEST_CASE(what_is_pushed_is_written_in_order) {
    small_pipe wire;
    output_queue queue(wire.ends[1], 1000, lost);
    queue.push("one\n");
    queue.push("two\n");
    BOOST_TEST(drains(queue));
    BOOST_TEST(wire.read() == "one\ntwo\n");
    BOOST_TEST(!queue.error().failed());
}

BOOST_AUTO_TEST_CASE(a_reader_who_does_not_read_costs_pieces_and_nobody_waits) {
    small_pipe wire;
    output_queue queue(wire.ends[1], 10'000, lost);
    const std::string piece(99, 'x');
    for (int i = 0; i < 10'000; ++i)
        queue.push(piece + '\n'); // a megabyte
    BOOST_TEST(!queue.idle());
    BOOST_TEST(!queue.drain([] { return false; }));
    std::string all;
    while (all.find('<') == std::string::npos)
        all += wire.read();
    BOOST_TEST(drains(queue));
    queue.push("after\n");
    BOOST_TEST(drains(queue));
    while (all.find("after") == std::string::npos)
        all += wire.read();
    const auto gap = all.find('<');
    BOOST_TEST(gap % 100 == 0U); // behind a whole piece
    BOOST_TEST(all.substr(gap) == lost(10'000 - gap / 100) + "after\n");
    BOOST_TEST(gap < 10'000 + 2 * pipe_bytes);
}

BOOST_AUTO_TEST_CASE(a_reader_who_went_away_is_noticed_though_nothing_is_pushed) {
    small_pipe wire;
    output_queue queue(wire.ends[1], 1000, lost);
    wire.close_reader();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!queue.error().failed() && std::chrono::steady_clock::now() < until)
        ::usleep(10'000);
    BOOST_TEST(queue.error() == boost::system::errc::broken_pipe);
    queue.push("for nobody");
    BOOST_TEST(queue.idle());
}

BOOST_AUTO_TEST_CASE(one_piece_larger_than_the_queue_is_taken_when_it_is_empty) {
    small_pipe wire;
    output_queue queue(wire.ends[1], 10, lost);
    queue.push(std::string(3000, 'y'));
    BOOST_TEST(drains(queue));
    BOOST_TEST(wire.read().size() == 3000U);
}
