(()=>{let d=document,g=d.getElementById("gone"),busy,since;
async function again(){if(d.hidden||busy)return;busy=1;
try{let r=await fetch(location.pathname,{cache:"no-store",signal:AbortSignal.timeout(4e3)});
let n=new DOMParser().parseFromString(await r.text(),"text/html"),m=n.querySelector("main");
if(!r.ok||!m)throw 0;
d.querySelector("main").replaceWith(m);d.title=n.title;g.hidden=true;since=0}
catch{since=since||new Date;
g.textContent="rmux does not answer since "+since.toLocaleTimeString()+": what stands here is older";
d.title="rmux does not answer";g.hidden=false;d.querySelector("main").className="old"}
busy=0}
setInterval(again,2e3);d.addEventListener("visibilitychange",again)})()
