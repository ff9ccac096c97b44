-- Sets three voices to the melody in the selected MIDI item, with musegen. See reaper.md beside this file.

-- Where `musegen serve` listens, and what it is asked for.
local address = "http://127.0.0.1:8765"
local wishes = "verb=harmonize&track=1&format=notes"
local melody = 1 -- the voice of the answer that is there already

local TICKS = 960 -- a quarter

local function tell (text)
  reaper.ShowMessageBox (text, "musegen", 0)
end

-- A number as a MIDI file writes lengths: seven bits a byte.
local function variable (number)
  local bytes = string.char (number % 128)
  number = number // 128
  while number > 0 do
    bytes = string.char (128 + number % 128) .. bytes
    number = number // 128
  end
  return bytes
end

-- The notes of a take as a MIDI file of one track; nil if there are none. Its tick 0 is the take's first quarter.
local function midi_file (take, origin)
  local events = {}
  local _, n_notes = reaper.MIDI_CountEvts (take)
  for index = 0, n_notes - 1 do
    local _, _, muted, from, to, _, pitch, velocity = reaper.MIDI_GetNote (take, index)
    if not muted then
      for _, event in ipairs ({ { from, 1, string.char (0x90, pitch, velocity) }, { to, 0, string.char (0x80, pitch, 0) } }) do
        local quarters = reaper.MIDI_GetProjQNFromPPQPos (take, event[1]) - origin
        table.insert (events, { math.max (math.floor (quarters * TICKS + 0.5), 0), event[2], event[3] })
      end
    end
  end
  if #events == 0 then
    return nil
  end
  table.sort (events, function (a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  local body, before = {}, 0
  for _, event in ipairs (events) do
    table.insert (body, variable (event[1] - before) .. event[3])
    before = event[1]
  end
  local track = table.concat (body) .. "\0\xFF\x2F\0"
  return "MThd" .. string.pack (">I4I2I2I2", 6, 0, 1, TICKS) .. "MTrk" .. string.pack (">I4", #track) .. track
end

-- Sends a MIDI file to the bridge; returns its answer, or nil and what is wrong.
local function ask (data)
  local path = os.tmpname ()
  local file = assert (io.open (path, "wb"))
  file:write (data)
  file:close ()
  local command = 'curl -sS --fail-with-body -H "Content-Type: audio/midi" --data-binary "@' .. path .. '" "' .. address .. "/bridge?" .. wishes .. '"'
  local said = reaper.ExecProcess (command, 120000) or "-1\n"
  os.remove (path)
  local code, answer = said:match ("^(%-?%d+)\n(.*)$")
  if code == "0" then
    return answer
  end
  return nil, answer:match ('"error":"(.-)"}') or (answer .. "\nDoes `musegen serve` run?")
end

-- Adds the notes of an answer to a take; returns how many.
local function add (take, answer, origin)
  local n = 0
  for track, pitch, velocity, start, length in answer:gmatch ("(%d+) (%d+) (%d+) ([%d.]+) ([%d.]+)") do
    if tonumber (track) ~= melody then
      local from = reaper.MIDI_GetPPQPosFromProjQN (take, origin + tonumber (start))
      local to = reaper.MIDI_GetPPQPosFromProjQN (take, origin + tonumber (start) + tonumber (length))
      reaper.MIDI_InsertNote (take, false, false, from, to, 0, tonumber (pitch), tonumber (velocity), true)
      n = n + 1
    end
  end
  reaper.MIDI_Sort (take)
  return n
end

local function main ()
  local item = reaper.GetSelectedMediaItem (0, 0)
  local take = item and reaper.GetActiveTake (item)
  if not take or not reaper.TakeIsMIDI (take) then
    return tell ("Select a MIDI item with a melody.")
  end
  local origin = reaper.MIDI_GetProjQNFromPPQPos (take, 0)
  local data = midi_file (take, origin)
  if not data then
    return tell ("The item has no notes.")
  end
  local answer, wrong = ask (data)
  if not answer then
    return tell (wrong)
  end
  reaper.Undo_BeginBlock ()
  local n = add (take, answer, origin)
  reaper.Undo_EndBlock ("musegen: harmonize", -1)
  tell (n .. " notes were added.")
end

main ()
