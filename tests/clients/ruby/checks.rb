# What the Ruby scripts share: where rmux is, and how the outcome of a check is told.
#
# A check passes when its block returns and has failed when it raises.

require 'timeout'

PASSWORD = ENV['RMUX_PASSWORD'].to_s
DATABASE = ENV['RMUX_DATABASE'].to_i
NAME = ENV['RMUX_NAME']
SERVERS = ENV['RMUX_SERVERS'].to_i
SOCKET = ENV['RMUX_SOCKET'].to_s
ADDRESS = SOCKET.empty? ? { host: ENV['RMUX_HOST'], port: ENV['RMUX_PORT'].to_i } : { path: SOCKET }
LOGIN = PASSWORD.empty? ? ADDRESS : ADDRESS.merge(password: PASSWORD)

# Keys enough that three servers all have some of them.
KEYS = (0..99).map { |number| "key:#{number}" }

def check(title, &block)
  Timeout.timeout(25, &block)
  puts "ok #{title}"
rescue Exception => error
  warn error.full_message
  puts "not ok #{title}: #{error.class}: #{error.message.gsub(/\s+/, ' ')[0, 200]}"
ensure
  $stdout.flush
end

def skip(title, why)
  puts "skip #{title}: #{why}"
end

def equal(got, wanted)
  raise "got #{got.inspect[0, 100]}, wanted #{wanted.inspect[0, 100]}" unless got == wanted
end

# What the block's error says.
def failure
  value = yield
rescue StandardError => error
  error.message
else
  raise "no error, but #{value.inspect}"
end

def until_so(seconds = 10)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  until yield
    raise "still not so after #{seconds} s" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
    Thread.pass
  end
end
