#include "support/opencode_server.hpp"
#include "support/ports.hpp"

#include <boost/json.hpp>
#include <boost/test/framework.hpp>
#include <boost/test/results_collector.hpp>
#include <boost/test/tree/test_unit.hpp>
#include <boost/test/tree/traverse.hpp>
#include <boost/test/tree/visitor.hpp>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <utility>

namespace holdfast::test {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr int skipped = 77; // what ctest is told to take as "not run"

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
}

fs::path cache_directory() {
    const auto cache = variable("XDG_CACHE_HOME");
    return cache.empty() ? fs::path(variable("HOME")) / ".cache" : fs::path(cache);
}

void write_file(const fs::path& path, std::string_view text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
}

opencode_world* the_world = nullptr;

/// Looks at each test case: a suite's own result is not there yet when global fixtures are taken down.
bool any_test_failed() {
    using namespace boost::unit_test;
    struct : test_tree_visitor {
        void visit(const test_case& each) override {
            const auto& result = results_collector.results(each.p_id);
            found = found || result.p_assertions_failed != 0 || result.p_aborted;
        }
        bool found = false;
    } failure;
    traverse_test_tree(framework::master_test_suite(), failure);
    return failure.found;
}

} // namespace

std::optional<fs::path> find_opencode() {
    fs::path path = variable("HOLDFAST_OPENCODE");
    if (path.empty()) {
        path = cache_directory() / "holdfast" / "opencode" / opencode_version /
               "node_modules/opencode-linux-x64/bin/opencode";
    }
    std::error_code ignored;
    return fs::is_regular_file(path, ignored) ? std::optional(path) : std::nullopt;
}

/// A directory below the system's temporary one, removed with all in it.
class opencode_server::home {
public:
    home() {
        auto name = (fs::canonical(fs::temp_directory_path()) / "holdfast-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("no temporary directory: " + name);
        }
        path_ = name;
        fs::create_directories(project());
        write_file(project() / "README.md", "A project to try things in.\n");
        // Without these two the server fetches its plugin package in the background at every start.
        fs::create_directories(path_ / ".config/opencode/node_modules");
        write_file(path_ / ".config/opencode/package-lock.json",
                   R"({"lockfileVersion":3,"packages":{"":{"dependencies":{"@opencode-ai/plugin":"*"}}}})");
    }

    ~home() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }

    home(const home&) = delete;
    home& operator=(const home&) = delete;

    const fs::path& path() const noexcept { return path_; }
    fs::path project() const { return path_ / "project"; }

private:
    fs::path path_;
};

opencode_server::opencode_server(options what) : options_(std::move(what)) {
    const auto program = find_opencode();
    if (!program) {
        throw std::runtime_error("no OpenCode server to test with: set HOLDFAST_OPENCODE");
    }
    program_ = program->string();
    home_ = std::make_unique<home>();
    constexpr int tries = 3; // a free port may be taken by somebody else meanwhile
    for (int attempt = 0; attempt < tries; ++attempt) {
        if (comes_up(free_port())) {
            return;
        }
    }
    throw std::runtime_error("the OpenCode server did not come up:\n" + log());
}

opencode_server::~opencode_server() {
    stop();
}

unsigned short opencode_server::port() const noexcept {
    return port_;
}
std::string opencode_server::url() const {
    return "http://127.0.0.1:" + std::to_string(port_);
}
std::string opencode_server::directory() const {
    return home_->project().string();
}
pid_t opencode_server::id() const {
    return id_;
}

void opencode_server::stop() {
    if (process_) {
        process_->kill_tree();
        process_->wait(std::chrono::seconds(10));
        old_log_ = log();
        process_.reset();
    }
    // Tools whose parent died before them are nobody's descendants any more.
    kill_by_environment("HOME=" + home_->path().string());
}

void opencode_server::stop_by(int signal) {
    process_->signal(signal);
    if (!process_->wait(std::chrono::seconds(20))) {
        throw std::runtime_error("the OpenCode server outlived signal " + std::to_string(signal));
    }
}

void opencode_server::restart() {
    restart(port_);
}

void opencode_server::restart(unsigned short port) {
    stop();
    if (!comes_up(port)) {
        throw std::runtime_error("the OpenCode server did not come up again:\n" + log());
    }
}

void opencode_server::suspend() {
    process_->signal(SIGSTOP);
}
void opencode_server::resume() {
    process_->signal(SIGCONT);
}

std::string opencode_server::log() const {
    auto text = old_log_;
    if (process_) {
        for (const auto from : {process::stream::output, process::stream::errors}) {
            for (const auto& line : process_->lines(from)) {
                text.append(line).append("\n");
            }
        }
    }
    return text;
}

void opencode_server::start(unsigned short port) {
    process::options what;
    what.argv = {program_,       "serve",       "--hostname", "127.0.0.1", "--port", std::to_string(port),
                 "--print-logs", "--log-level", "WARN"};
    what.environment = environment();
    what.directory = home_->project();
    process_ = std::make_unique<process>(std::move(what));
    port_ = port;
    id_ = process_->id();
}

bool opencode_server::comes_up(unsigned short port) {
    start(port);
    // Before this line the server accepts connections and never answers them.
    const auto is_ready = [](std::string_view line) {
        return line.starts_with("opencode server listening on");
    };
    const bool up = process_->wait_line(is_ready, options_.start_deadline).has_value();
    if (!up) {
        stop();
    }
    return up;
}

std::vector<std::string> opencode_server::environment() const {
    std::vector<std::string> result{"PATH=" + variable("PATH"),
                                    "HOME=" + home_->path().string(),
                                    "OPENCODE_CONFIG_CONTENT=" + configuration(),
                                    "OPENCODE_DISABLE_AUTOUPDATE=1",
                                    "OPENCODE_DISABLE_MODELS_FETCH=1",
                                    "OPENCODE_DISABLE_PROJECT_CONFIG=1",
                                    "OPENCODE_DISABLE_LSP_DOWNLOAD=1",
                                    "OPENCODE_DISABLE_DEFAULT_PLUGINS=1",
                                    "OPENCODE_PURE=1"};
    if (!options_.password.empty()) {
        result.push_back("OPENCODE_SERVER_PASSWORD=" + options_.password);
    }
    result.insert(result.end(), options_.more_environment.begin(), options_.more_environment.end());
    return result;
}

std::string opencode_server::configuration() const {
    auto configuration = json::parse(R"({
        "autoupdate": false, "share": "disabled", "snapshot": false, "lsp": false, "formatter": false,
        "enabled_providers": ["mock"], "model": "mock/mock-1", "small_model": "mock/mock-1",
        "provider": {"mock": {
            "npm": "@ai-sdk/openai-compatible", "name": "Mock", "options": {"apiKey": "x"},
            "models": {"mock-1": {
                "name": "Mock", "tool_call": true, "reasoning": true, "attachment": true,
                "modalities": {"input": ["text", "image", "pdf"], "output": ["text"]},
                "cost": {"input": 1, "output": 2}, "variants": {"hard": {"reasoningEffort": "high"}},
                "limit": {"context": 128000, "output": 8192}}}}},
        "command": {
            "greet": {"template": "Greet $ARGUMENTS #plain"},
            "helper": {"template": "do it #plain", "subtask": true},
            "build": {"template": "Built: !`sleep 2; echo done` $ARGUMENTS"}}
    })");
    configuration.at_pointer("/provider/mock/options").as_object()["baseURL"] =
        "http://127.0.0.1:" + std::to_string(options_.model_port) + "/v1";
    configuration.as_object()["permission"] = json::parse(options_.permission);
    return json::serialize(configuration);
}

opencode_world::opencode_world() {
    if (!find_opencode()) {
        std::cout << "SKIPPED: no OpenCode server to test with. Set HOLDFAST_OPENCODE to its program, or "
                     "unpack the "
                     "npm package opencode-linux-x64@"
                  << opencode_version << " in "
                  << cache_directory() / "holdfast" / "opencode" / opencode_version << std::endl;
        std::_Exit(skipped);
    }
    model_ = std::make_unique<scripted_model>();
    opencode_server::options what;
    what.model_port = model_->port();
    server_ = std::make_unique<opencode_server>(what);
    the_world = this;
}

opencode_world::~opencode_world() {
    if (any_test_failed()) {
        std::cout << "The server wrote:\n" << server_->log() << std::flush;
    }
    the_world = nullptr;
}

opencode_server& opencode_world::server() {
    return *the_world->server_;
}
scripted_model& opencode_world::model() {
    return *the_world->model_;
}

} // namespace holdfast::test
