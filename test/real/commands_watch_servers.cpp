// holdfast watch and servers that are odd: too many sessions, another password, another port, errors of no
// turn.
#include <boost/test/unit_test.hpp>

#include "support/command.hpp"
#include "support/eventually.hpp"
#include "support/ports.hpp"
#include "support/raw_server.hpp"
#include "support/sim_process.hpp"
#include "support/sim_sessions.hpp"

#include <boost/json/parse.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace holdfast::test;
using namespace std::chrono_literals;
using lines = std::vector<std::string>;
namespace json = boost::json;

constexpr auto ever = 60s; // the machine may be busy

auto with(std::string part) {
    return [part](std::string_view line) {
        return line.find(part) != std::string_view::npos;
    };
}

auto with_both(std::string one, std::string other) {
    return [one, other](std::string_view line) {
        return line.find(one) != std::string_view::npos && line.find(other) != std::string_view::npos;
    };
}

class watcher {
public:
    explicit watcher(lines more) : child_(options_of(std::move(more))) {}

    process& child() { return child_; }
    [[nodiscard]] bool told(const std::function<bool(std::string_view)>& wanted) const {
        return child_.wait_line(wanted, ever).has_value();
    }
    [[nodiscard]] bool logged(const std::string& part) const {
        return child_.wait_line(with(part), ever, process::stream::errors).has_value();
    }
    int end_by(int signal, std::chrono::milliseconds deadline = 3s) {
        child_.signal(signal);
        const auto status = child_.wait(deadline);
        return status && status->signal == 0 ? status->code : -1;
    }
    unsigned short port() const {
        const auto line = child_.wait_line(with("listening on "), ever, process::stream::errors);
        if (!line)
            throw std::runtime_error("the watch does not say where it listens");
        return static_cast<unsigned short>(std::stoi(line->substr(line->rfind(':') + 1)));
    }
    json::object status() const { return json::parse(http_call(port(), "GET", "/status").body).as_object(); }

private:
    static process::options options_of(lines more) {
        more.insert(more.begin(),
                    {"watch", "--discover-every", "200ms", "--capture-every", "200ms", "--base-delay",
                     "100ms", "--max-delay", "1s", "--listen", "127.0.0.1:0", "--format", "ndjson"});
        auto what = command_of("holdfast", more);
        std::erase_if(what.environment,
                      [](const std::string& each) { return each.starts_with("OPENCODE_SERVER_"); });
        return what;
    }

    process child_;
};

lines with_password(const std::string& password) {
    auto all = current_environment();
    std::erase_if(all, [](const std::string& each) { return each.starts_with("OPENCODE_SERVER_"); });
    all.push_back("OPENCODE_SERVER_PASSWORD=" + password);
    return all;
}

std::string at_port(unsigned short port) {
    return "127.0.0.1:" + std::to_string(port);
}

/// A simulated server on this port, once it listens.
std::unique_ptr<process> sim_at(unsigned short port, const lines& environment = current_environment()) {
    auto what = command_of("holdfast", {"sim", "--listen", at_port(port)});
    what.environment = environment;
    auto child = std::make_unique<process>(std::move(what));
    BOOST_REQUIRE(child->wait_line([](std::string_view) { return true; }, ever).has_value());
    return child;
}

/// A server that lists `count` sessions, whatever it is asked for.
reply crowd(const heard& asked, int count) {
    const auto target = asked.target();
    if (target.starts_with("/global/health"))
        return answer(200, "application/json", R"({"healthy":true,"version":"1.18.33"})");
    if (!target.starts_with("/session?") && target != "/session")
        return answer(200, "application/json", target.starts_with("/session/status") ? "{}" : "[]");
    std::string all = "[";
    for (int i = 0; i < count; ++i)
        all += std::string(i == 0 ? "" : ",") + R"({"id":"ses_)" + std::to_string(100'000'000 - i) +
               R"(","directory":"/d","title":"t","version":"1","time":{"created":1,"updated":)" +
               std::to_string(count - i) + "}}";
    return answer(200, "application/json", all + ']');
}

} // namespace

// --- many sessions

BOOST_AUTO_TEST_CASE(of_many_sessions_the_newest_are_watched_and_the_rest_is_a_count) {
    raw_server server([](const heard& asked) { return crowd(asked, 20'000); });
    watcher w({"--server", "http://" + at_port(server.port()), "--max-runs", "100"});
    BOOST_TEST(w.told(with_both("{\"session\":", "ses_100000000")));
    BOOST_TEST(w.logged("server.sessions_left_out"));
    std::chrono::milliseconds slowest{};
    for (int i = 0; i < 40; ++i) {
        const auto begun = std::chrono::steady_clock::now();
        BOOST_TEST(http_call(w.port(), "GET", "/livez").status == 200);
        slowest = std::max(slowest, std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now() - begun));
        std::this_thread::sleep_for(50ms);
    }
    BOOST_TEST_MESSAGE("slowest /livez: " << slowest.count() << " ms");
    const auto totals = w.status().at("totals").as_object();
    BOOST_TEST(totals.at("sessions").to_number<int>() <= 100);
    BOOST_TEST(totals.at("sessions_left_out").to_number<int>() >= 19'900);
    BOOST_TEST(w.end_by(SIGTERM, 2s) == 143);
}

// --- another password

BOOST_AUTO_TEST_CASE(a_server_restarted_with_another_password_is_told_as_that_everywhere) {
    auto server = std::make_unique<sim_process>(lines{}, with_password("one"));
    const auto port = server->port();
    const auto url = "http://opencode:one@" + at_port(port);
    const auto auth =
        "Authorization: Basic b3BlbmNvZGU6b25l\r\nContent-Type: application/json\r\n"; // opencode:one
    const auto made = http_call(port, "POST", "/session", R"({"title":"the parser"})", auth);
    const auto session = std::string(json::parse(made.body).at("id").as_string());
    watcher w({"--server", url});
    BOOST_REQUIRE(w.told(with_both("{\"session\":", session)));
    BOOST_TEST(http_call(w.port(), "GET", "/readyz").status == 200);
    http_call(port, "POST", "/session/" + session + "/prompt_async",
              R"({"parts":[{"type":"text","text":"#slow:100000"}]})", auth);
    BOOST_REQUIRE(w.told(with("{\"turn\":")));
    server.reset();
    const auto restarted = sim_at(port, with_password("two"));
    BOOST_TEST(w.told(with_both("{\"trouble\":", "\"message\":\"authentication failed")));
    BOOST_TEST(w.logged("authentication failed"));
    const auto ready = http_call(w.port(), "GET", "/readyz");
    BOOST_TEST(ready.status == 503);
    BOOST_TEST(ready.body.find("authentication failed") != std::string::npos, ready.body);
    const auto status = w.status();
    BOOST_TEST(status.at("servers").at(0).at("trouble").at("message").as_string().starts_with(
        "authentication failed"));
    BOOST_TEST(status.at("totals").at("working").to_number<int>() == 0);
    BOOST_TEST(w.end_by(SIGTERM) == 143);
}

// --- another port

BOOST_AUTO_TEST_CASE(the_same_sessions_on_another_port_are_one_server_only_while_the_old_port_is_silent) {
    const auto same = [](const heard& asked) {
        return crowd(asked, 1);
    };
    auto one = std::make_unique<raw_server>(same);
    raw_server other(same);
    watcher w({"--server", "http://" + at_port(one->port()), "--server", "http://" + at_port(other.port())});
    const auto sessions = [&] {
        return w.status().at("totals").at("sessions").to_number<int>();
    };
    BOOST_TEST(eventually([&] { return sessions() == 2; }, ever)); // both answer
    std::this_thread::sleep_for(1s);
    BOOST_TEST(sessions() == 2);
    one.reset();
    BOOST_TEST(w.told(with("{\"trouble\":")));
    BOOST_TEST(eventually([&] { return sessions() == 1; }, ever)); // the old port is silent
}

BOOST_AUTO_TEST_CASE(a_wake_up_signal_tries_at_once) {
    const auto port = free_port();
    watcher w({"--server", "http://" + at_port(port), "--base-delay", "1h", "--max-delay", "1h"});
    BOOST_REQUIRE(w.told(with("{\"trouble\":")));
    const auto back = sim_at(port);
    w.child().signal(SIGUSR1);
    BOOST_TEST(w.told(with("{\"recovered\":")));
    BOOST_TEST(w.end_by(SIGTERM) == 143);
}

// --- files

BOOST_AUTO_TEST_CASE(odd_tokens_are_refused_and_open_files_warned_of) {
    const auto file =
        std::filesystem::temp_directory_path() / ("holdfast-token-" + std::to_string(::getpid()));
    const auto run = [&](const std::string& token, mode_t mode) {
        std::ofstream(file, std::ios::binary) << token;
        ::chmod(file.c_str(), mode);
        return run_command("holdfast", {"watch", "--server", "http://127.0.0.1:1", "--listen", "127.0.0.1:0",
                                        "--for", "100ms", "--token-file", file.string()});
    };
    for (const auto& [token, why] :
         std::vector<std::pair<std::string, std::string>>{{"", "holds no token"},
                                                          {"\n", "holds no token"},
                                                          {"two\nlines", "control characters"},
                                                          {std::string("a\0b", 3), "control characters"},
                                                          {"two words", "printable ASCII"},
                                                          {"\xef\xbb\xbfwith-mark", "printable ASCII"},
                                                          {std::string(5000, 'x'), "at most 4096"},
                                                          {std::string(100'000, 'x'), "larger than 8 KiB"}}) {
        const auto result = run(token, 0600);
        BOOST_TEST(result.code() == 2, result.text());
        BOOST_TEST(std::any_of(result.errors.begin(), result.errors.end(), with(why)), result.text());
    }
    const auto open = run("s3cret\n", 0644);
    BOOST_TEST(open.code() == 0, open.text());
    BOOST_TEST(std::any_of(open.errors.begin(), open.errors.end(), with("readable by every user")),
               open.text());
    const auto closed = run("s3cret\n", 0600);
    BOOST_TEST(std::none_of(closed.errors.begin(), closed.errors.end(), with("readable")), closed.text());
    std::filesystem::remove(file);
}
